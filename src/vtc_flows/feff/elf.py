"""
Redirect calls inside a loaded shared library.

A Fortran library that calls its own routines through the procedure linkage table can be told, at
run time and without touching the file, to call ours instead: the table's entries lie in memory
and are overwritten with the address of a callback. The originals stay callable. Only 64-bit
little-endian ELF with RELA relocations is understood (Linux on x86-64 and aarch64).
"""

from __future__ import annotations

import ctypes
import mmap
import os
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vtc_flows.errors import EngineError

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_PLTRELSZ, _DT_STRTAB, _DT_SYMTAB, _DT_RELA, _DT_RELASZ, _DT_JMPREL = 2, 5, 6, 7, 8, 23
_JUMP_SLOTS = {6, 7, 1025, 1026}  # GLOB_DAT and JUMP_SLOT of x86-64 and aarch64
_SYMBOL = struct.Struct("<IBBHQQ")
_RELA = struct.Struct("<QQq")


def fortran_subroutine(n_arguments: int) -> Any:
    """
    Return the ctypes prototype of a subroutine with ``n_arguments`` machine-word arguments.

    Fortran passes addresses, and the hidden lengths of strings as words behind them.
    """
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * n_arguments)


class RelocationTable:
    """
    Where a library's imported calls are stored, by symbol name.

    Parameters
    ----------
    path : Path
        The library file.

    Raises
    ------
    EngineError
        If the file is not a 64-bit little-endian ELF library.
    """

    def __init__(self, path: Path) -> None:
        self._image = path.read_bytes()
        if self._image[:6] != b"\x7fELF\x02\x01":
            raise EngineError(f"{path} is no 64-bit little-endian ELF library")
        self._segments = self._loaded_segments()
        tags = self._dynamic_tags()
        self._symbols = self._file_offset(tags[_DT_SYMTAB])
        self._strings = self._file_offset(tags[_DT_STRTAB])
        self.slots: dict[str, list[int]] = {}
        self.values: dict[str, int] = {}
        for start, size in ((_DT_JMPREL, _DT_PLTRELSZ), (_DT_RELA, _DT_RELASZ)):
            if start in tags:
                self._collect(self._file_offset(tags[start]), tags[size])

    def _program_headers(self) -> list[tuple[int, ...]]:
        offset = struct.unpack_from("<Q", self._image, 32)[0]
        size, count = struct.unpack_from("<HH", self._image, 54)
        return [
            struct.unpack_from("<IIQQQQQQ", self._image, offset + size * i) for i in range(count)
        ]

    def _loaded_segments(self) -> list[tuple[int, int, int]]:
        return [(h[3], h[2], h[5]) for h in self._program_headers() if h[0] == _PT_LOAD]

    def _dynamic_tags(self) -> dict[int, int]:
        for header in self._program_headers():
            if header[0] == _PT_DYNAMIC:
                pairs = struct.iter_unpack("<QQ", self._image[header[2] : header[2] + header[5]])
                return dict(pairs)
        raise EngineError("the library has no dynamic section")

    def _file_offset(self, address: int) -> int:
        for start, offset, size in self._segments:
            if start <= address < start + size:
                return address - start + offset
        raise EngineError(f"address {address:#x} lies in no part of the library that is loaded")

    def _collect(self, offset: int, size: int) -> None:
        for slot, info, _ in _RELA.iter_unpack(self._image[offset : offset + size]):
            if info & 0xFFFFFFFF not in _JUMP_SLOTS:
                continue
            symbol = _SYMBOL.unpack_from(self._image, self._symbols + _SYMBOL.size * (info >> 32))
            start = self._strings + symbol[0]
            name = self._image[start : self._image.index(b"\0", start)].decode()
            self.slots.setdefault(name, []).append(slot)
            self.values[name] = symbol[4]


class HookedLibrary:
    """
    A shared library whose internal calls can be redirected to Python.

    Parameters
    ----------
    path : Path
        The library file. It stays loaded until the process ends.

    Raises
    ------
    EngineError
        If it cannot be loaded or is of another kind.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._library = ctypes.CDLL(str(path))
        except OSError as error:
            raise EngineError(f"{path} cannot be loaded: {error}") from error
        self._table = RelocationTable(path)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._callbacks: list[Any] = []

    def routine(self, symbol: str, n_arguments: int) -> Any:
        """Return the library's own routine, callable, never a hook."""
        return fortran_subroutine(n_arguments)(self._address(symbol))

    def replace(self, symbol: str, n_arguments: int, function: Callable[..., None]) -> Any:
        """
        Let the library's calls of ``symbol`` go to ``function``; return the original routine.

        Raises
        ------
        EngineError
            If the library does not call the symbol through its linkage table.
        """
        if symbol not in self._table.slots:
            raise EngineError(f"the library does not call {symbol} through its linkage table")
        callback = fortran_subroutine(n_arguments)(function)
        self._callbacks.append(callback)  # the library holds only its address
        target = ctypes.cast(callback, ctypes.c_void_p).value
        base = self._address(symbol) - self._table.values[symbol]
        for slot in self._table.slots[symbol]:
            self._make_writable(base + slot)
            ctypes.c_uint64.from_address(base + slot).value = target or 0
        return self.routine(symbol, n_arguments)

    def _address(self, symbol: str) -> int:
        try:
            address = ctypes.cast(getattr(self._library, symbol), ctypes.c_void_p).value
        except AttributeError as error:
            raise EngineError(f"the library has no routine {symbol}") from error
        assert address is not None
        return address

    def _make_writable(self, address: int) -> None:
        page = address & ~(mmap.PAGESIZE - 1)
        flags = mmap.PROT_READ | mmap.PROT_WRITE
        if self._libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(mmap.PAGESIZE), flags):
            raise EngineError(f"a call cannot be redirected: {os.strerror(ctypes.get_errno())}")
