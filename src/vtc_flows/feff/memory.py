"""Views of numbers that belong to a Fortran library, by their addresses."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from numpy.typing import NDArray


def integer(address: int) -> ctypes.c_int32:
    """Return the 32-bit integer at an address; assign to its ``value``."""
    return ctypes.c_int32.from_address(address)


def floating(address: int) -> ctypes.c_double:
    """Return the double at an address; assign to its ``value``."""
    return ctypes.c_double.from_address(address)


def integers(address: int, count: int) -> NDArray[np.int32]:
    """Return a view of 32-bit integers."""
    memory: Any = (ctypes.c_int32 * count).from_address(address)
    return np.frombuffer(memory, np.int32)


def doubles(address: int, count: int) -> NDArray[np.float64]:
    """Return a writable view of doubles."""
    memory: Any = (ctypes.c_double * count).from_address(address)
    return np.frombuffer(memory)


def complexes(address: int, count: int) -> NDArray[np.complex128]:
    """Return a writable view of complex numbers in double precision."""
    memory: Any = (ctypes.c_double * (2 * count)).from_address(address)
    return np.frombuffer(memory, np.complex128)


def single_complexes(address: int, count: int) -> NDArray[np.complex64]:
    """Return a writable view of complex numbers in single precision."""
    memory: Any = (ctypes.c_float * (2 * count)).from_address(address)
    return np.frombuffer(memory, np.complex64)
