"""Records as JSON lines, with structures, tensors and provenance: to keep, to give away."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO

from pydantic import ValidationError

from vtc_flows.errors import InputError, StorageError
from vtc_flows.schemas import SamsRecord

_COMPRESSED = ".gz"
_FILE_MODE = 0o644


def write_records(path: Path, records: Iterable[SamsRecord]) -> int:
    """
    Write records into a file, one on each line; the file appears when it is whole.

    Parameters
    ----------
    path : Path
        Compressed if its name ends with ``.gz``; what is there is replaced at the end.
    records : iterable of SamsRecord
        Taken one at a time: there may be more than memory holds.

    Returns
    -------
    int
        How many they were.

    Raises
    ------
    StorageError
        If the file cannot be written; a former one is then untouched.
    """
    count = 0
    temporary: Path | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=f".{path.name[:40]}-", delete=False
        ) as file:
            temporary = Path(file.name)
            with _text(file, path) as lines:
                for record in records:
                    lines.write(f"{record.model_dump_json()}\n".encode())
                    count += 1
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(_FILE_MODE)
        temporary.replace(path)
    except OSError as error:
        raise StorageError(f"{path} could not be written: {error.strerror or error}") from error
    finally:
        if temporary is not None:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
    return count


def read_records(path: Path) -> Iterator[SamsRecord]:
    """
    Yield the records of a file that `write_records` wrote.

    Raises
    ------
    InputError
        If the file cannot be read or a line of it is no record; names the line.
    """
    number = 0
    try:
        with gzip.open(path) if path.suffix == _COMPRESSED else path.open("rb") as lines:
            for line in lines:
                number += 1
                if line.strip():
                    yield SamsRecord.model_validate_json(line)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        raise InputError(
            f"{path}, line {number} is no record of this package ({where}: {first['msg']})"
        ) from error
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read after line {number}: {reason}") from error


def _text(file: IO[bytes], path: Path) -> gzip.GzipFile | _Plain:
    if path.suffix == _COMPRESSED:
        # no name and no time inside: equal records make equal files
        return gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
    return _Plain(file)


class _Plain:
    """A file that somebody else closes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __enter__(self) -> IO[bytes]:
        return self._file

    def __exit__(self, *_: object) -> None:
        """Leave the file open."""
