"""A data set from elsewhere: from another folder, or from an address on the web."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

from vtc_flows.dataset.layout import Layout, digest_of
from vtc_flows.dataset.packing import files_in
from vtc_flows.errors import InputError
from vtc_flows.writing import write_whole

_TIMEOUT_S = 60.0
_SCHEMES = ("https://", "http://")

#: Told how many files are there, of how many.
Tell = Callable[[int, int], None]


def fetch_dataset(source: str, target: Layout, tell: Tell) -> int:
    """
    Bring a data set to this machine; what is there already, by its digest, is not fetched again.

    Parameters
    ----------
    source : str
        Folder, or address (http, https) of a folder, with ``croissant.json``.
    target : Layout
        Where to.
    tell : callable
        Told how far it is.

    Returns
    -------
    int
        Files that were fetched.

    Raises
    ------
    InputError
        If the source cannot be read, or a file is not the one that its card names; the files
        before it are kept, and the card is written last.
    StorageError
        If a file cannot be written.
    """
    content = _read(source, target.card.name)
    files = files_in(_card(content, source))
    fetched = 0
    for done, (name, digest) in enumerate(sorted(files.items()), 1):
        path = target.folder / _safe(name)
        if not (path.is_file() and digest_of(path) == digest):
            write_whole(path, _read(source, name))
            if digest_of(path) != digest:
                path.unlink()
                raise InputError(f"{name} of {source} is not the file that its card names")
            fetched += 1
        tell(done, len(files))
    write_whole(target.card, content)
    return fetched


def _card(content: bytes, source: str) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads(content)
        files_in(card)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{source} holds no card of a data set: {error}") from error
    return card


def _safe(name: str) -> PurePosixPath:
    """Refuse names that lead out of the folder."""
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"the card names {name}, which is outside of its folder")
    return path


def _read(source: str, name: str) -> bytes:
    try:
        if source.startswith(_SCHEMES):
            address = f"{source.rstrip('/')}/{name}"
            with urllib.request.urlopen(address, timeout=_TIMEOUT_S) as answer:
                return bytes(answer.read())
        return (Path(source) / name).read_bytes()
    except (OSError, urllib.error.URLError) as error:
        raise InputError(f"{name} of {source} cannot be read: {error}") from error
