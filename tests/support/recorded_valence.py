"""The recorded files of FEFF10 that its emission of the valence is made of."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from fake_feff10 import DIRECTIONS, recorded_calls
from numpy.typing import NDArray
from record_feff10 import FOLDER, SETTINGS

from vtc_flows.feff.feff10_output import (
    FEFF10_HARTREE_EV,
    FINE_STRUCTURE_FILE,
    SECTION_FILE,
    XMU_FILE,
    Section,
    Xmu,
    read_fine_structure,
    read_section,
    read_xmu,
)
from vtc_flows.feff.feff10_valence import ValenceSpectra, valence_spectra
from vtc_flows.feff.site_input import LowerEnd
from vtc_flows.scattering.mesh import EnergyMesh
from vtc_flows.scattering.occupied import occupied_spectrum

#: How far the recorded mesh begins below the first energy that is wanted.
DEEPER_EV = 6.0


@dataclass(frozen=True)
class Recorded:
    """Files of one cluster size, as the engine reads them."""

    section: Section
    fine_structure: Mapping[str, NDArray[np.complex128]]
    xmu: Mapping[str, Xmu]

    @property
    def mesh(self) -> EnergyMesh:
        return EnergyMesh(
            self.section.energy_ev / FEFF10_HARTREE_EV,
            self.section.n_horizontal,
            self.section.fermi_index,
        )

    @property
    def wanted_ev(self) -> NDArray[np.float64]:
        energies = self.xmu["x"].energy_ev
        return energies[round(DEEPER_EV / SETTINGS.energy_step_ev) :]

    def own(self, amplitude: float = 1.0) -> dict[str, NDArray[np.float64]]:
        """Return what all occupied states emit, by our integral."""
        line = self.mesh.energy_ha[: self.section.n_horizontal].real
        parts = amplitude * self.section.normalization
        functions = {
            name: self.section.cross_section + parts * one
            for name, one in self.fine_structure.items()
        }
        return {
            name: occupied_spectrum(self.mesh, function[:, None], line).imag[:, 0]
            for name, function in functions.items()
        }

    def valence(self, end: LowerEnd | None = None, **changes: Any) -> ValenceSpectra:
        """Return what the valence emits, with some of what is given to it changed."""
        given: dict[str, Any] = {
            "section": self.section,
            "fine_structure": self.fine_structure,
            "spectra": {name: one.mu for name, one in self.xmu.items()},
            "wanted_ev": self.wanted_ev,
            "end": end or LowerEnd(SETTINGS.valence_depth_ev),
            "step_ev": SETTINGS.energy_step_ev,
            "refine": 4,
            "amplitude": 1.0,
        }
        return valence_spectra(**{**given, **changes})


def recorded_valence() -> list[Recorded]:
    """Return the files of wurtzite ZnO, one entry for each cluster size."""
    found: list[Recorded] = []
    with tempfile.TemporaryDirectory(prefix="vtc-recorded-") as name:
        folder = Path(name)
        for call in recorded_calls(FOLDER, "converged"):
            for kept, text in call["files"].items():
                (folder / kept).write_text(text, encoding="latin-1")
            if call["program"] == "xsph":
                found.append(Recorded(read_section(folder / SECTION_FILE), {}, {}))
            if call["program"] == "ff2x":
                one = found[-1]
                direction = list(DIRECTIONS)[len(one.xmu)]
                structure = read_fine_structure(folder / FINE_STRUCTURE_FILE)
                found[-1] = Recorded(
                    one.section,
                    {**one.fine_structure, direction: structure},
                    {**one.xmu, direction: read_xmu(folder / XMU_FILE)},
                )
    return found
