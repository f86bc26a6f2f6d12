"""
The process in which FEFF 8.5L and our multiple scattering run for one site.

It is a fork of :mod:`vtc_flows.feff.fork_server`. Its directory holds ``site.json`` and
``program.json``; the spectra are left in ``spectra.npz``. What happens is told as JSON lines
through a file descriptor, and nothing counts as finished that did not end with ``finished``.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import traceback
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from vtc_flows.errors import VtcFlowsError
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.feff.units import BOHR_ANGSTROM, HARTREE_EV

SITE_FILE, PROGRAM_FILE, SPECTRA_FILE = "site.json", "program.json", "spectra.npz"

_STACK_BYTES = 512 << 20  # FEFF keeps large arrays on the stack; only touched pages are real
#: Imported before forking. FEFF's library itself is not: it keeps state.
_NEEDED = (
    "vtc_flows.feff.executables",
    "vtc_flows.feff.potph",
    "vtc_flows.feff.smoothing",
    "vtc_flows.scattering.tensor",
)


class Events:
    """The way back to the process that started this one."""

    def __init__(self, descriptor: int) -> None:
        self._stream = os.fdopen(descriptor, "w", buffering=1)

    def send(self, event: str, **content: Any) -> None:
        """Write one event."""
        self._stream.write(json.dumps({"event": event, **content}) + "\n")

    def progress(self, stage: str, done: int, total: int) -> None:
        """Tell how far a stage has come."""
        self.send("progress", stage=stage, done=done, total=total)

    def abort(self, error: BaseException) -> NoReturn:
        """Tell of an error and end this process."""
        if isinstance(error, VtcFlowsError):
            reason = getattr(error, "reason", None)
            self.send("failed", kind=type(error).__name__, message=str(error), reason=reason)
        else:
            traceback.print_exception(error)  # into the log
            self.send("failed", kind="EngineCrashError", message=f"{type(error).__name__}: {error}")
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(1)


def load() -> None:
    """Import what a worker may need, so that its forks have it."""
    for name in _NEEDED:
        import_module(name)


def run(directory: Path, events_descriptor: int) -> NoReturn:
    """
    Run the site of a directory in this process, and end the process.

    Parameters
    ----------
    directory : Path
        Becomes the current directory.
    events_descriptor : int
        Where to tell what happens.
    """
    events = Events(events_descriptor)
    os.chdir(directory)
    threading.stack_size(_STACK_BYTES)
    thread = threading.Thread(target=_run, args=(directory, events))
    thread.start()
    thread.join()
    os._exit(0)  # the library's own clean-up has nothing to add


def _run(directory: Path, events: Events) -> None:
    try:
        events.send("finished", **compute(directory, events))
    except BaseException as error:
        events.abort(error)


def compute(directory: Path, events: Events) -> dict[str, Any]:
    """
    Make potentials, phases and spectra for the site in a directory.

    Returns
    -------
    dict
        Facts: iterations, Fermi levels and CPU seconds.
    """
    from vtc_flows.feff.phase_tables import wanted_energies
    from vtc_flows.feff.smoothing import smoothed
    from vtc_flows.scattering.tensor import emission_tensor

    site = SiteInput.from_json((directory / SITE_FILE).read_text())
    program = json.loads((directory / PROGRAM_FILE).read_text())
    source = _source(program, site.for_potentials(), directory, events)
    data, smoothing = source.run(), None
    if site.smooth:
        data, smoothing = smoothed(data)
    arrays: dict[str, Any] = {}
    seconds = []
    bottom = source.bottom
    level_ev = None if bottom is None else bottom.level_3p_ev
    positions, index = site.positions / BOHR_ANGSTROM, np.asarray(site.potential_index)
    for number, radius in enumerate(site.fms_radii_angstrom):
        start = time.process_time()
        inside = np.linalg.norm(site.positions, axis=1) <= radius
        result = emission_tensor(
            data,
            positions[inside],
            index[inside],
            energy_ha=wanted_energies(site, data.mesh.fermi_ha),
            bottom_ha=None if bottom is None else bottom.energy_ev / HARTREE_EV,
            core_level_ha=None if level_ev is None else level_ev / HARTREE_EV,
            refine=site.mesh_refinement,
            amplitude=site.amplitude_reduction,
            interpolate=site.smooth,
        )
        events.progress("fms", number + 1, len(site.fms_radii_angstrom))
        seconds.append(time.process_time() - start)
        arrays[f"tensor_{number}"] = result.tensor
        arrays[f"background_{number}"] = result.background
        arrays[f"atoms_{number}"] = inside.sum()
        arrays["energy_ev"] = result.energy_ha * HARTREE_EV
        arrays["edge_cross_section"] = result.edge_normalisation
    np.savez(directory / SPECTRA_FILE, **arrays)
    return {
        "e_fermi_ev": data.mesh.fermi_ha * HARTREE_EV,
        "photon_edge_ev": source.photon_edge_ha * HARTREE_EV,
        "fermi_history_ev": [level * HARTREE_EV for level in source.scf.fermi_ha],
        "charges_e": source.scf.charges_e,
        "restarts": source.scf.bad_counts,
        "mixing": source.scf.mixing,
        "separation": None if source.separation is None else asdict(source.separation),
        "bottom": None if bottom is None else asdict(bottom),
        "smoothing": None if smoothing is None else asdict(smoothing),
        "timings_s": {
            "scf": source.scf_cpu_s,
            "scf_fms": source.scattering.cpu_s,
            "phases": source.phases_cpu_s,
        },
        "fms_s": seconds,
    }


def _source(program: dict[str, Any], site: SiteInput, directory: Path, events: Events) -> Any:
    if program["route"] == "library":
        from vtc_flows.feff.potph import PotentialsAndPhases

        return PotentialsAndPhases(
            Path(program["library"]), site, directory, events.progress, events.abort
        )
    from vtc_flows.feff.executables import ExecutedPotentialsAndPhases

    return ExecutedPotentialsAndPhases(program["executables"], site, directory, events.progress)
