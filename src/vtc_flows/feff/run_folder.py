"""The folder in which one site runs: made fresh, cleared away unless it is wanted."""

from __future__ import annotations

import errno
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from vtc_flows.errors import (
    ConfigurationError,
    EngineError,
    ScratchLostError,
    StorageError,
)


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
            # it was there when this process began, and may have been cleaned away since
            place = scratch or Path(tempfile.gettempdir())
            place.mkdir(parents=True, exist_ok=True)
            folder = Path(tempfile.mkdtemp(prefix="vtc-site-", dir=place)).resolve()
    except OSError as error:
        raise StorageError(f"no run folder can be made: {error}") from error
    try:
        yield folder
    finally:
        if run_dir is None and not keep:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def watched_scratch(folder: Path, first_file: str = "") -> Iterator[None]:
    """
    Tell a run folder that was removed from one that cannot be written.

    Systems clean their temporary folders, also while a run is in them. What follows from that is
    the failure of one site; a disk that is full or broken concerns all of them.

    Parameters
    ----------
    folder : Path
        In which the block runs.
    first_file : str
        What is written into it before anything else, and must be there at the end.

    Raises
    ------
    ScratchLostError
        In the place of whatever the block raises when the folder or the file is gone.
    """
    try:
        yield
    except ScratchLostError:
        raise
    except (EngineError, StorageError, OSError) as error:
        if not _is_lost(folder, first_file, error):
            raise
        raise ScratchLostError(
            f"the run folder {folder} was removed in the middle of the run: set "
            "VTC_SCRATCH_DIRECTORY to a folder that nothing cleans up"
        ) from error


def _is_lost(folder: Path, first_file: str, error: Exception) -> bool:
    # who could not write the file at all does not miss it
    wanted = folder if isinstance(error, StorageError) else folder / first_file
    try:
        wanted.stat()
    except OSError as problem:
        return problem.errno in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)
    return False
