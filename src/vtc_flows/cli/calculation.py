"""What commands that compute spectra share: settings from options, and an orderly end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from vtc_flows.cli.lazy import INTERRUPTED, OneLineError
from vtc_flows.errors import InputError
from vtc_flows.schemas import Preset, SamsSettings, XesSettings


def xes_settings(preset: Preset, given: Mapping[str, Any]) -> XesSettings:
    """
    Return the settings of a calculation from the options of `options.spectra`.

    Raises
    ------
    InputError
        If they do not go together.
    """
    below, above, step = given["energies"]
    sizes = {"fms_atoms": given["fms_atoms"]} if given["fms_atoms"] else {}
    with _one_line():
        return XesSettings.preset(
            preset,
            **sizes,
            n_scf_atoms=given["scf_atoms"],
            core_hole=given["core_hole"],
            energy_below_ev=below,
            energy_above_ev=above,
            energy_step_ev=step,
        )


def sams_settings_for(settings: XesSettings, given: Mapping[str, Any]) -> SamsSettings:
    """
    Return how SAMS is made, from the options of `options.spectra` and, if there, `options.moments`.

    Raises
    ------
    InputError
        If the window is empty, or wider than the grid.
    """
    grid = (-settings.energy_below_ev, settings.energy_above_ev)
    names = {"exponent": "moment_exponent", "moment_cutoff": "moment_cutoff_angstrom"}
    moments = {field: given[option] for option, field in names.items() if option in given}
    with _one_line():
        sams_settings = SamsSettings(
            window_ev=given["window"] or grid, fwhm_ev=given["fwhm"], **moments
        )
    low, high = sams_settings.window_ev
    if low < grid[0] or high > grid[1]:
        raise InputError(
            f"the window {low:g} ... {high:g} eV reaches beyond the spectrum's grid "
            f"{grid[0]:g} ... {grid[1]:g} eV: make it smaller, or the grid larger (--energies)"
        )
    return sams_settings


@contextmanager
def interruptible(kept: Callable[[], str]) -> Iterator[None]:
    """
    End the block on an interrupt, or a signal to terminate, with one line that says what is kept.

    Parameters
    ----------
    kept : callable
        Asked when it happens.
    """
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except KeyboardInterrupt:
        raise OneLineError(
            f"interrupted: {kept()}; the same command goes on from there", INTERRUPTED
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _one_line() -> Iterator[None]:
    """Say in one line what pydantic finds wrong."""
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        text = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{name}: {text}" if name else text) from error
