"""What commands that compute spectra share: settings from options, and an orderly end."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from vtc_flows.cli.lazy import INTERRUPTED, OneLineError
from vtc_flows.schemas import Preset, SamsSettings, XesSettings
from vtc_flows.workflow.arguments import in_one_line, require_window


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
    with in_one_line():
        return XesSettings.preset(
            preset,
            **sizes,
            n_scf_atoms=given["scf_atoms"],
            core_hole=given["core_hole"],
            energy_below_ev=below,
            energy_above_ev=above,
            energy_step_ev=step,
            **_valence(given["valence_bottom"]),
        )


def _valence(bottom: str | float) -> dict[str, Any]:
    if bottom == "auto":
        return {}
    return {"valence_only": False} if bottom == "all" else {"valence_bottom_ev": bottom}


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
    with in_one_line():
        sams_settings = SamsSettings(
            window_ev=given["window"] or grid, fwhm_ev=given["fwhm"], **moments
        )
    require_window(settings, sams_settings.window_ev)
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
