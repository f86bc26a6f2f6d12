"""Names of spectra and records: one formatter and one parser for each."""

from __future__ import annotations

import re
from dataclasses import dataclass

from vtc_flows.errors import InputError

_HASH_LENGTH = 8
_TAIL = r"(?P<engine>[A-Za-z0-9_.]+)-(?P<fms_atoms>\d+)-(?P<hash8>[0-9a-f]{8})"
_RECORD = re.compile(r"(?P<material_id>.+)-(?P<element>[A-Z][a-z]?)-" + _TAIL)
_SPECTRUM = re.compile(r"(?P<material_id>.+)-(?P<element>[A-Z][a-z]?)-(?P<site_index>\d+)-" + _TAIL)


@dataclass(frozen=True)
class RecordId:
    """
    The name of a record: what, with which engine, cluster size and settings.

    Examples
    --------
    >>> name = RecordId("mp-2657", "Ti", "feff8l", 30, "0123abcd")
    >>> str(name)
    'mp-2657-Ti-feff8l-30-0123abcd'
    >>> RecordId.parse(str(name)) == name
    True
    """

    material_id: str
    element: str
    engine: str
    fms_atoms: int
    hash8: str

    def __post_init__(self) -> None:
        _require(_RECORD, str(self), self)

    def __str__(self) -> str:
        """Return the name."""
        return f"{self.material_id}-{self.element}-{_tail(self)}"

    @classmethod
    def parse(cls, text: str) -> RecordId:
        """Return the parts of a name; raise InputError if it is none."""
        parts = _parts(_RECORD, text)
        return cls(**{**parts, "fms_atoms": int(parts["fms_atoms"])})  # type: ignore[arg-type]


@dataclass(frozen=True)
class SpectrumId:
    """
    The name of the spectrum of one site.

    Examples
    --------
    >>> str(SpectrumId("rutile", "Ti", 0, "feff8l", 30, "0123abcd"))
    'rutile-Ti-0-feff8l-30-0123abcd'
    """

    material_id: str
    element: str
    site_index: int
    engine: str
    fms_atoms: int
    hash8: str

    def __post_init__(self) -> None:
        _require(_SPECTRUM, str(self), self)

    def __str__(self) -> str:
        """Return the name."""
        return f"{self.material_id}-{self.element}-{self.site_index}-{_tail(self)}"

    @classmethod
    def parse(cls, text: str) -> SpectrumId:
        """Return the parts of a name; raise InputError if it is none."""
        parts = _parts(_SPECTRUM, text)
        numbers = {key: int(parts[key]) for key in ("site_index", "fms_atoms")}
        return cls(**{**parts, **numbers})  # type: ignore[arg-type]


def short_hash(digest: str) -> str:
    """Return the part of a digest that enters a name."""
    return digest[:_HASH_LENGTH]


def _tail(name: RecordId | SpectrumId) -> str:
    return f"{name.engine}-{name.fms_atoms}-{name.hash8}"


def _parts(pattern: re.Pattern[str], text: str) -> dict[str, str]:
    match = pattern.fullmatch(text)
    if match is None:
        raise InputError(f"{text!r} is not the name of a record or spectrum")
    return match.groupdict()


def _require(pattern: re.Pattern[str], text: str, parts: object) -> None:
    """Refuse parts that the parser would not give back."""
    found = _parts(pattern, text)
    wanted = {key: str(value) for key, value in vars(parts).items()}
    if found != wanted:
        raise InputError(f"{wanted} cannot be told apart in the name {text!r}")
