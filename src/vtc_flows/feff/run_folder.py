"""The folder in which one site runs: made fresh, cleared away unless it is wanted."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vtc_flows.errors import ConfigurationError, StorageError


def require_scratch(scratch: Path | None) -> None:
    """
    Refuse a scratch folder that is not there.

    Raises
    ------
    ConfigurationError
        Says which setting to correct.
    """
    if scratch is not None and not scratch.is_dir():
        raise ConfigurationError(
            f"scratch_directory is {scratch}, which is no folder: make it, or "
            "correct VTC_SCRATCH_DIRECTORY"
        )


@contextmanager
def run_folder(run_dir: Path | None, *, scratch: Path | None, keep: bool) -> Iterator[Path]:
    """
    Give a folder for the files of a run.

    Parameters
    ----------
    run_dir : Path, optional
        The user's folder, which is kept; a temporary one if not given.
    scratch : Path, optional
        Where temporary folders are made.
    keep : bool
        Keep a temporary folder too.

    Raises
    ------
    StorageError
        If no folder can be made.
    """
    try:
        if run_dir is not None:
            run_dir.mkdir(parents=True, exist_ok=True)
            folder = run_dir.resolve()
        else:
            folder = Path(tempfile.mkdtemp(prefix="vtc-site-", dir=scratch)).resolve()
    except OSError as error:
        raise StorageError(f"no run folder can be made: {error}") from error
    try:
        yield folder
    finally:
        if run_dir is None and not keep:
            shutil.rmtree(folder, ignore_errors=True)
