"""What a report consists of: sections with pictures and tables of texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

from matplotlib.figure import Figure

from vtc_flows.crystal.sites import TRANSITION_METALS

Value = TypeVar("Value")


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure with its name as a file, what it shows, and the same for those who do not see it."""

    name: str
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Table:
    """A table of texts; the first column names the row."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the page. `missing` says why it is empty, and what fills it."""

    key: str
    title: str
    texts: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    missing: str = ""
    warnings: tuple[str, ...] = ()


def by_number(of: Mapping[str, Value]) -> list[tuple[str, Value]]:
    """Return elements and what is known of each, by their atomic numbers."""
    return [(name, of[name]) for name in TRANSITION_METALS if name in of]


def number_text(value: float | None, digits: int = 4) -> str:
    """Return a number for a table; a dash for none."""
    return "–" if value is None else f"{value:.{digits}f}"
