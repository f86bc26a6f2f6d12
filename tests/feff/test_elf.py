from __future__ import annotations

import ctypes
import subprocess
import sys

import pytest

from vtc_flows.errors import EngineError
from vtc_flows.feff.discovery import find_feff8l
from vtc_flows.feff.elf import RelocationTable
from vtc_flows.settings import load_settings

HOOK = """
import ctypes, sys
from pathlib import Path
from vtc_flows.feff.elf import HookedLibrary

library = HookedLibrary(Path(sys.argv[1]))
seen = []

def hook(*arguments):
    seen.append(len(arguments))
    original(*arguments)

original = library.replace("istrln_", 2, hook)
text = ctypes.create_string_buffer(b"abc".ljust(20))
word = library.routine("untab_", 2)  # calls istrln_ through the table
word(ctypes.addressof(text), 20)
print(seen)
"""


@pytest.fixture(scope="module")
def library():
    return find_feff8l(load_settings()).library


@pytest.mark.engine
def test_calls_that_are_redirected_are_found(library):
    table = RelocationTable(library)
    for name in ("fmsie_", "scmt_", "phmesh_", "xsph_", "rholie_", "csomm2_"):
        assert table.slots[name], name
        loaded = ctypes.CDLL(str(library))
        assert ctypes.cast(getattr(loaded, name), ctypes.c_void_p).value


@pytest.mark.engine
def test_a_call_goes_to_the_hook_and_on_to_the_original(library):
    done = subprocess.run(
        [sys.executable, "-c", HOOK, str(library)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[2]"


@pytest.mark.parametrize("content", [b"", b"\x7fELF\x01\x01" + bytes(60), b"MZ" + bytes(60)])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "library.so"
    path.write_bytes(content)
    with pytest.raises(EngineError, match="ELF"):
        RelocationTable(path)
