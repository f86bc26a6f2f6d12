"""The folder that results go to."""

from __future__ import annotations

from pathlib import Path

from vtc_flows.writing import write_whole

_PROBE = ".vtc-probe"


def require_writable(folder: Path) -> None:
    """
    Make a folder, and find out now rather than after hours whether it can be written.

    Raises
    ------
    StorageError
        If it cannot.
    """
    probe = folder / _PROBE
    write_whole(probe, "")
    probe.unlink(missing_ok=True)
