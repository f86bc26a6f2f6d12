"""What A and B of `vtc compare` mean: engine and preset, or a folder of results."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from vtc_flows.cli.calculation import xes_settings
from vtc_flows.cli.options import DEFAULT_ENGINE
from vtc_flows.cli.results import read_record, record_files
from vtc_flows.errors import InputError
from vtc_flows.feff.registry import BUILT_IN
from vtc_flows.schemas import Preset, SamsRecord, XesSettings

DEFAULT_PRESET: Preset = "seed"
_PRESETS: tuple[Preset, ...] = get_args(Preset)


@dataclass(frozen=True)
class Computed:
    """A side that is computed here."""

    engine: str
    settings: XesSettings

    @property
    def place(self) -> str:
        """Where the engine's factory is, by whichever name it was called."""
        return BUILT_IN.get(self.engine, self.engine)


@dataclass(frozen=True)
class Stored:
    """A side that was computed before: the records in a folder, by material and element."""

    folder: Path
    files: Mapping[tuple[str, str], list[Path]]

    def records(self, key: tuple[str, str]) -> list[SamsRecord]:
        """
        Return the records of a material and element.

        Raises
        ------
        InputError
            If there are none, or they cannot be read.
        """
        if key not in self.files:
            raise InputError(f"{self.folder} holds no record of {' '.join(key)}")
        return [read_record(path) for path in self.files[key]]


Side = Computed | Stored


def parse_side(text: str) -> tuple[str, Preset] | Path:
    """
    Return what A or B names: engine and preset, or a folder.

    The name of an own engine holds a colon itself, so a preset is one only as the last part.

    Raises
    ------
    InputError
        If it names nothing.

    Examples
    --------
    >>> parse_side("converged"), parse_side("feff10"), parse_side("feff10:converged")
    (('feff8l', 'converged'), ('feff10', 'seed'), ('feff10', 'converged'))
    >>> parse_side("package.module:factory"), parse_side("package.module:factory:converged")
    (('package.module:factory', 'seed'), ('package.module:factory', 'converged'))
    """
    engine, colon, last = text.rpartition(":")
    for preset in _PRESETS:
        if text == preset:
            return DEFAULT_ENGINE, preset
        if colon and engine and last == preset:
            return engine, preset
    if text in BUILT_IN:
        return text, DEFAULT_PRESET
    if text and Path(text).is_dir():
        return Path(text).resolve()
    if engine in BUILT_IN:
        raise InputError(f"{text}: no preset is called {last!r}: use {' or '.join(_PRESETS)}")
    if not colon:
        raise InputError(
            f"{text!r} is no engine ({', '.join(BUILT_IN)}, or package.module:factory), no preset "
            f"({', '.join(_PRESETS)}) and no folder of results"
        )
    return text, DEFAULT_PRESET


def read_sides(text_a: str, text_b: str, given: Mapping[str, Any]) -> tuple[Side, Side]:
    """
    Return what A and B mean together with the options of `options.spectra`.

    Raises
    ------
    InputError
        If one means nothing, or both mean the same.
    """
    a, b = (_side(parse_side(text), given) for text in (text_a, text_b))
    if isinstance(a, Stored) and isinstance(b, Stored):
        same = a.folder == b.folder
    else:
        made = [(side.place, side.settings) for side in (a, b) if isinstance(side, Computed)]
        same = len(made) == 2 and made[0] == made[1]
    if same:
        sizes = " (--fms-atoms takes the place of the presets' sizes)" if given["fms_atoms"] else ""
        raise InputError(
            f"A ({text_a}) and B ({text_b}) mean the same{sizes}: name two that differ, as "
            "`vtc compare seed converged` or `vtc compare feff8l feff10`"
        )
    return a, b


def _side(named: tuple[str, Preset] | Path, given: Mapping[str, Any]) -> Side:
    if isinstance(named, Path):
        return Stored(named, record_files(named))
    engine, preset = named
    return Computed(engine, xes_settings(preset, given))
