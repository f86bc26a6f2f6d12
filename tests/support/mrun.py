"""maggma's own command, as its users call it, and the files that it reads."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

BUILDERS = Path(__file__).parents[2] / "builders"
FILES = sorted(BUILDERS.glob("*.json"))
_MRUN = Path(sys.executable).with_name("mrun")
_LIMIT_S = 300  # against a process that hangs; a busy machine must not fail a test


def start(*arguments: object) -> subprocess.Popen:
    command = [str(_MRUN), "--no_bars", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def finish(process: subprocess.Popen) -> str:
    with process:
        try:
            output, _ = process.communicate(timeout=_LIMIT_S)
        finally:
            process.kill()
    assert process.returncode == 0, output
    return output


def unversioned(content):
    """Return a serialised builder without the version of the package."""
    if isinstance(content, dict):
        return {key: unversioned(value) for key, value in content.items() if key != "@version"}
    return [unversioned(each) for each in content] if isinstance(content, list) else content
