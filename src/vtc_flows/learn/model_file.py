"""
A model as the content of a file: text and arrays, in the format of skops, never pickled.

The file is one that skops writes, a zip archive of a schema and of arrays, with three additions.
It holds nothing but text and arrays of numbers, so that no type of any library has to be trusted;
equal contents give equal bytes; and its last bytes, the archive's comment, are the digest of all
before them. On the way back the digest is compared, then each type in the schema and each array's
kind is looked at, before anything is made.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import skops.io
from numpy.typing import NDArray

from vtc_flows.errors import InputError

Content = dict[str, Any]

#: What a file may be made of: module and name of a type, and how skops makes it.
_TYPES = {
    *(("builtins", "dict", "DictNode"), ("builtins", "list", "ListNode")),
    *(("builtins", "str", "JsonNode"), ("builtins", "str", "TypeNode")),
    ("numpy", "ndarray", "NdArrayNode"),
}
_SCHEMA = "schema.json"
_COMMENT = b"vtc-flows sha256:"
_N_COMMENT = len(_COMMENT) + 64
_EPOCH = (1980, 1, 1, 0, 0, 0)
_MOST_BYTES = 4 * 1024**3
_LEVEL = 6


def pack(text: str, arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """
    Return text and arrays as the content of a file; equal ones give equal bytes.

    Examples
    --------
    >>> text, arrays = unpack(pack("words", {"one": np.arange(3)}))
    >>> text, arrays["one"].tolist()
    ('words', [0, 1, 2])
    """
    ours = {name: np.ascontiguousarray(arrays[name]) for name in sorted(arrays)}
    return seal(_normalised(skops.io.dumps({"text": text, "arrays": ours})))


def seal(archive: bytes) -> bytes:
    """Return a zip archive without a comment with one: the digest of what is before it."""
    digest = hashlib.sha256(archive).hexdigest().encode()
    return archive[:-2] + struct.pack("<H", _N_COMMENT) + _COMMENT + digest


def unpack(content: bytes) -> tuple[str, dict[str, NDArray[Any]]]:
    """
    Return text and arrays of a file.

    Raises
    ------
    InputError
        If it is no such file, was cut off or changed, or holds anything else. Nothing in it has
        been made or run then.
    """
    archive = _checked(content)
    try:
        with zipfile.ZipFile(io.BytesIO(archive)) as file:
            _check_sizes(file)
            schema = json.loads(file.read(_SCHEMA))
            files = set(file.namelist())
        _check_types(schema, files)
        found = skops.io.loads(archive, trusted=[])
    except InputError:
        raise
    except Exception as error:  # whatever zipfile, json, numpy and skops stumble over
        line = " ".join(str(error).split())[:200]
        raise InputError(f"no model can be read from this file: {line}") from error
    text = found.get("text") if isinstance(found, dict) else None
    arrays = found.get("arrays") if isinstance(found, dict) else None
    if not isinstance(text, str) or not isinstance(arrays, dict):
        raise InputError("the file holds no model: text and arrays are expected")
    if not all(type(one) is np.ndarray and one.dtype.kind in "fi" for one in arrays.values()):
        raise InputError("the file holds no model: an array is not of numbers")
    return text, arrays


def _checked(content: bytes) -> bytes:
    """Return the archive without its comment, after a look at the digest there."""
    if not content.startswith(b"PK"):
        raise InputError("this is no model file: it does not begin as one (`vtc train` makes them)")
    comment = content[-_N_COMMENT:]
    if len(content) <= _N_COMMENT or not comment.startswith(_COMMENT):
        raise InputError(
            "this is no model file of vtc-flows, or it was cut off: its digest is missing"
        )
    archive = content[: -_N_COMMENT - 2] + b"\0\0"
    if hashlib.sha256(archive).hexdigest().encode() != comment[len(_COMMENT) :]:
        raise InputError(
            "the model file was changed or damaged: it has another digest than its own"
        )
    return archive


def _check_sizes(file: zipfile.ZipFile) -> None:
    """Refuse a small file that unfolds into a large one."""
    size = sum(each.file_size for each in file.infolist())
    if size > _MOST_BYTES:
        raise InputError(f"the model file unfolds to {size / 1024**3:.0f} GiB, which no model has")


def _check_types(schema: Any, files: set[str]) -> None:
    """Refuse a schema with any other type than text, arrays and their containers."""
    odd: set[str] = set()
    for node in _nodes(schema):
        kind = tuple(str(node.get(key)) for key in ("__module__", "__class__", "__loader__"))
        if "__reduce__" in node or kind not in _TYPES:
            odd.add(f"{kind[0]}.{kind[1]}")
        elif kind[1] == "ndarray" and (node.get("type") != "numpy" or node["file"] not in files):
            odd.add("an array that is not of numbers")
    if odd:
        raise InputError(
            f"the model file is refused, nothing of it was run: it holds {', '.join(sorted(odd))}; "
            "models of vtc-flows hold text and arrays only"
        )


def _nodes(part: Any) -> list[dict[str, Any]]:
    """Return all nodes of a schema."""
    found: list[dict[str, Any]] = []
    waiting = [part]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            # a node has a type; the mapping of a dictionary's keys to its values has none
            if any(key.startswith("__") for key in one):
                found.append(one)
            waiting.extend(one.values())
        elif isinstance(one, list):
            waiting.extend(one)
    return found


def _normalised(content: bytes) -> bytes:
    """Return a file of skops without what differs from run to run: addresses, names and times."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        schema = json.loads(file.read(_SCHEMA))
        numbers: dict[Any, int] = {}
        names: dict[str, str] = {}
        for node in _nodes(schema):
            if "__id__" in node:
                node["__id__"] = numbers.setdefault(node["__id__"], len(numbers) + 1)
            if "file" in node:
                node["file"] = names.setdefault(node["file"], f"{len(names):04d}.npy")
        contents = {names[old]: file.read(old) for old in names}
    contents[_SCHEMA] = json.dumps(schema, sort_keys=True).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as file:
        for name in sorted(contents):
            file.writestr(zipfile.ZipInfo(name, _EPOCH), contents[name], zipfile.ZIP_DEFLATED)
    return target.getvalue()


#: Noted in a card: the bytes of equal models are equal where this is.
COMPRESSION = zlib.ZLIB_RUNTIME_VERSION
