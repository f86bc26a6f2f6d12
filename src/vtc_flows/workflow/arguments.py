"""Arguments of Makers and functions, checked before anything is computed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from numbers import Integral
from pathlib import Path
from typing import TypeVar

import numpy as np
from jobflow import OutputReference
from pydantic import BaseModel, ValidationError
from pymatgen.core.structure import Structure

from vtc_flows.errors import InputError, WindowError
from vtc_flows.feff.site_input import EnergyGrid
from vtc_flows.physics.windows import clip
from vtc_flows.schemas import XesSettings

Settings = TypeVar("Settings", bound=BaseModel)


@contextmanager
def in_one_line(name: str = "") -> Iterator[None]:
    """
    Say in one line what pydantic finds wrong.

    Parameters
    ----------
    name : str
        Of what is checked, where its fields alone would not tell.

    Raises
    ------
    InputError
        In the place of pydantic's own.
    """
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in (name, *first["loc"]) if part != "")
        text = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{where}: {text}" if where else text) from error


def as_settings(kind: type[Settings], given: object, name: str) -> Settings:
    """
    Return settings that were given as such, or as a dictionary of their fields.

    Raises
    ------
    InputError
        If they are neither, or a field is wrong.

    Examples
    --------
    >>> as_settings(XesSettings, {"core_hole": "none"}, "settings").core_hole
    'none'
    """
    if isinstance(given, kind):
        return given
    if not isinstance(given, Mapping):
        raise InputError(
            f"{name} is {given!r}, {_kind(given)}: give {kind.__name__}(...) or a dictionary of "
            "its fields"
        )
    # what a store writes beside the fields begins with @
    fields = {key: value for key, value in given.items() if not str(key).startswith("@")}
    with in_one_line(name):
        return kind.model_validate(fields)


def as_text(given: object, name: str, *, example: str = "") -> str:
    """
    Return a text, or the name of a path.

    Raises
    ------
    InputError
        If it is anything else. Numbers are not guessed at: 2657 may be mp-2657 or a file's name.
    """
    if isinstance(given, Path):
        return str(given)
    if not isinstance(given, str):
        such = f', as "{example}"' if example else ""
        raise InputError(f"{name} is {given!r}, {_kind(given)}: give a text{such}")
    return str(given)


def require_material_id(given: object) -> str:
    """
    Return the id of a material.

    Raises
    ------
    InputError
        If it is no text that ids of records can hold.
    """
    if not isinstance(given, str):
        raise InputError(
            f'material_id is {given!r}, {_kind(given)}: give a text, as "mp-2657" or "rutile"'
        )
    if not given.strip() or not given.isprintable():
        raise InputError(f"material_id is {given!r}: give a text of one line that is not empty")
    return given


def require_structure(given: object) -> Structure:
    """
    Return a structure.

    Raises
    ------
    InputError
        If it is anything else, as the name of a file.
    """
    if not isinstance(given, Structure):
        raise InputError(
            f"structure is {_kind(given)}, not a pymatgen Structure: read a file with "
            "Structure.from_file(...) or vtc_flows.crystal.sources.load_structures"
        )
    return given


def require_site(given: object, structure: Structure) -> int:
    """
    Return the number of a site.

    Raises
    ------
    InputError
        If the structure has no such site.
    """
    last = len(structure) - 1
    number = _whole(given)
    if number is None or not 0 <= number <= last:
        raise InputError(f"site_index is {given!r}: give a whole number from 0 to {last}")
    return number


def require_count(given: object, name: str) -> int:
    """
    Return a whole number above zero.

    Raises
    ------
    InputError
        If it is none.
    """
    number = _whole(given)
    if number is None or number < 1:
        raise InputError(f"{name} is {given!r}: give a whole number, 1 or more")
    return number


def is_reference(given: object) -> bool:
    """Say whether an argument is what another job will give, which nobody knows yet."""
    return isinstance(given, OutputReference)


def require_window(settings: XesSettings, window_ev: tuple[float, float]) -> None:
    """
    Refuse a window of SAMS that the spectra will not cover.

    Parameters
    ----------
    settings : XesSettings
        With the grid.
    window_ev : (low, high)
        Relative to the Fermi level.

    Raises
    ------
    WindowError
        If it reaches beyond the grid, or beyond the last point that the grid's step leads to, or
        lies below the states that emit.

    Examples
    --------
    >>> require_window(XesSettings(), (-20.0, 5.0))
    >>> require_window(XesSettings(energy_below_ev=20), (-30.0, 5.0))
    Traceback (most recent call last):
    vtc_flows.errors.WindowError: the window -30 ... 5 eV reaches beyond the spectrum's grid ...
    """
    low, high = window_ev
    below, above = -settings.energy_below_ev, settings.energy_above_ev
    if low < below or high > above:
        raise WindowError(
            f"the window {low:g} ... {high:g} eV reaches beyond the spectrum's grid "
            f"{below:g} ... {above:g} eV: make it smaller (window_ev, --window), or the grid "
            "larger (energy_below_ev and energy_above_ev, --energies)"
        )
    bottom = settings.valence_bottom_ev or -settings.valence_depth_ev
    if settings.valence_only and high <= bottom:
        raise WindowError(
            f"the window {low:g} ... {high:g} eV lies below the states that emit, which begin at "
            f"{bottom:g} eV: give a higher window (window_ev, --window), or let deeper states emit "
            "(valence_bottom_ev, --valence-bottom)"
        )
    energies = EnergyGrid(below, above, settings.energy_step_ev).energies_ev(0.0)
    try:
        clip(energies, np.zeros(len(energies)), window_ev)
    except InputError as error:
        raise WindowError(
            f"the window {low:g} ... {high:g} eV does not fit the grid's steps of "
            f"{settings.energy_step_ev:g} eV: {error}"
        ) from error


def _whole(given: object) -> int | None:
    """Return a whole number, of whatever kind it is; None for anything else."""
    is_whole = isinstance(given, Integral) and not isinstance(given, bool)
    return int(given) if is_whole else None  # type: ignore[call-overload]


def _kind(given: object) -> str:
    """Return what something is, with its article."""
    name = type(given).__name__
    return f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
