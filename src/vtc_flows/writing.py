"""Write files so that a reader finds them whole or not at all."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

from vtc_flows.errors import StorageError

_FILE_MODE = 0o644
_LONGEST_NAME = 200


def write_whole(path: Path, content: str | bytes) -> None:
    """
    Write a file in one step, replacing what is there.

    Parameters
    ----------
    path : Path
        The file; its folder is made where it is missing.
    content : str or bytes
        All of it.

    Raises
    ------
    StorageError
        If it cannot be written; the former file, if any, is then untouched.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name[:40]}-", delete=False
        ) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())  # a full disk may show only here
        temporary.chmod(_FILE_MODE)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(
            f"{path} could not be written: {error.strerror or error}; what was finished before is "
            "intact. Free some space or choose another folder, and run again to continue"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def file_name(name: str, suffix: str = "") -> str:
    """
    Return a name that is safe as the name of a file; different names stay different.

    Examples
    --------
    >>> file_name("mp-2657-Ti", ".json")
    'mp-2657-Ti.json'
    >>> file_name("../a b", ".json")
    '_.._a_b-2c2c791a.json'
    """
    kept = safe_name(name)
    if kept != name:
        kept += f"-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
    return kept + suffix


def safe_name(name: str) -> str:
    """
    Return what the name of a file begins with that `file_name` makes; several may begin alike.

    Examples
    --------
    >>> safe_name("a b-Ti")
    'a_b-Ti'
    """
    kept = "".join(
        char if (char.isascii() and char.isalnum()) or char in "-_.+" else "_" for char in name
    )
    return (f"_{kept}" if kept.startswith(".") else kept)[:_LONGEST_NAME]
