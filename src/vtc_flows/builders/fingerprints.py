"""Digests that decide whether a document is to be derived again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from vtc_flows import __version__

#: Times differ from run to run and say nothing of the content.
_TIMES = frozenset({"created_at", "last_updated"})


def digest(content: Any) -> str:
    """
    Return a digest of what JSON can hold, whatever the order of keys.

    Examples
    --------
    >>> digest({"a": 1, "b": [2.5]}) == digest({"b": [2.5], "a": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def content_digest(document: Mapping[str, Any]) -> str:
    """
    Return the digest of a document but for its times.

    Examples
    --------
    >>> one, other = ({"x": 1, "provenance": {"created_at": time}} for time in ("now", "then"))
    >>> content_digest(one) == content_digest(other)
    True
    """
    return digest(_timeless(document))


def code_version(revision: int) -> str:
    """
    Return what stands for the code that derives documents: the package's version and a count.

    Parameters
    ----------
    revision : int
        Raised where the code of a builder changes between versions of the package.
    """
    return f"{__version__}+{revision}"


def fingerprint(
    members: Mapping[str, str], *, code_version: str, parameters: Mapping[str, Any]
) -> str:
    """
    Return the digest of all that a document is made from.

    Parameters
    ----------
    members : mapping of str to str
        What it is made from: name and stamp of each.
    code_version : str
        See `code_version`.
    parameters : mapping
        Of the builder.

    Examples
    --------
    >>> whole = {"code_version": "1", "parameters": {}}
    >>> fingerprint({"a": "t1", "b": "t1"}, **whole) == fingerprint({"a": "t1"}, **whole)
    False
    """
    return digest({"members": dict(members), "code": code_version, "parameters": dict(parameters)})


def _timeless(content: Any) -> Any:
    if isinstance(content, Mapping):
        return {key: _timeless(value) for key, value in content.items() if key not in _TIMES}
    if isinstance(content, (list, tuple)):
        # rows of numbers hold no times, and are most of a document
        plain = not content or not isinstance(content[0], (Mapping, list, tuple))
        return content if plain else [_timeless(value) for value in content]
    return content
