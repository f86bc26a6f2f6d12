"""A site's document as a row of the data set, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtc_flows.crystal.sites import SiteOrbit
from vtc_flows.dataset.quantized import packed, unpacked
from vtc_flows.dataset.shards import Row
from vtc_flows.physics.tensors import symmetrised, symmetry_residual
from vtc_flows.schemas import SiteXesDoc, SpectrumDoc
from vtc_flows.workflow.evaluation import SYMMETRIC_RESIDUAL

#: What a row holds elsewhere, or what can be made again from the crystal and the settings.
_LEFT_OUT = ("energy_ev", "tensor", "background", "engine_input")


def row_of(document: SiteXesDoc, orbit: SiteOrbit, *, part: str, rank: int, engine: str) -> Row:
    """
    Return a finished site as a row.

    Parameters
    ----------
    document : SiteXesDoc
        Its spectra, or why there are none.
    orbit : SiteOrbit
        The symmetry of the site, over which the tensors are averaged where they have it.
    part : str
        Part of the data set, as ``train``.
    rank : int
        Place in the campaign.
    engine : str
        Identity of the engine that was asked, also where it failed.
    """
    largest = document.spectra[-1] if document.spectra else None
    failure = document.failure
    return {
        "material_id": document.material_id,
        "element": document.element,
        "site_index": document.site_index,
        "part": part,
        "rank": rank,
        "multiplicity": orbit.multiplicity,
        "state": document.state,
        "reason": None if failure is None else failure.reason,
        "engine": engine,
        **(_numbers(largest) if largest is not None else dict.fromkeys(_NUMBERS)),
        "spectra": [_spectrum(one, orbit) for one in document.spectra],
        "document": _stripped(document),
    }


_NUMBERS = (
    "e_fermi_ev",
    "photon_edge_ev",
    "bottom_ev",
    "edge_cross_section_angstrom2",
    "energy_start_ev",
    "energy_step_ev",
    "n_iterations",
    "recovery",
    "cpu_s",
)


def _numbers(spectrum: SpectrumDoc) -> Row:
    bottom = spectrum.valence_bottom
    energy = np.array(spectrum.energy_ev)
    return {
        "e_fermi_ev": spectrum.e_fermi_ev,
        "photon_edge_ev": spectrum.photon_edge_ev,
        "bottom_ev": None if bottom is None else bottom.energy_ev,
        "edge_cross_section_angstrom2": spectrum.edge_cross_section_angstrom2,
        "energy_start_ev": float(energy[0] - spectrum.e_fermi_ev),
        "energy_step_ev": float((energy[-1] - energy[0]) / (len(energy) - 1)),
        "n_iterations": spectrum.scf.n_iterations,
        "recovery": spectrum.scf.recovery,
        "cpu_s": spectrum.timings["total"],
    }


def _spectrum(spectrum: SpectrumDoc, orbit: SiteOrbit) -> Row:
    tensor = np.asarray(spectrum.tensor)
    residual = symmetry_residual(tensor, orbit.site_rotations)
    if residual < SYMMETRIC_RESIDUAL:
        tensor = symmetrised(tensor, orbit.site_rotations)
    values, step = packed(tensor)
    background, background_step = packed(np.asarray(spectrum.background)[:, None])
    return {
        "fms_atoms": spectrum.fms_atoms,
        "n_fms_atoms": spectrum.n_fms_atoms,
        "tensor_step": step,
        "tensor": values,
        "background_step": background_step,
        "background": background,
        "symmetry_residual": residual,
    }


def _stripped(document: SiteXesDoc) -> str:
    content = document.model_dump(mode="json", exclude_defaults=True)
    for spectrum in content.get("spectra", []):
        for name in _LEFT_OUT:
            spectrum.pop(name, None)
        spectrum["provenance"].pop("structure")
    failure = content.get("failure")
    if failure:
        failure.pop("engine_input", None)
        failure.get("provenance", {}).pop("structure", None)
    return json.dumps(content, separators=(",", ":"))


def tensor_of(spectrum: Mapping[str, Any]) -> NDArray[np.float64]:
    """Return the tensor, shape (n, 6), of one element of a row's ``spectra``."""
    return unpacked(spectrum["tensor"], spectrum["tensor_step"], 6)


def document_of(row: Row, structure: Mapping[str, Any]) -> SiteXesDoc:
    """
    Return the document that a row was made of, tensors averaged and rounded.

    Parameters
    ----------
    row : dict
        A row of a file.
    structure : mapping
        The crystal.
    """
    content = json.loads(row["document"])
    for spectrum, stored in zip(content.get("spectra", []), row["spectra"], strict=True):
        tensor = tensor_of(stored)
        steps = np.arange(len(tensor)) * row["energy_step_ev"]
        energy = spectrum["e_fermi_ev"] + row["energy_start_ev"] + steps
        background = unpacked(stored["background"], stored["background_step"], 1)[:, 0]
        spectrum |= {
            "energy_ev": energy.tolist(),
            "tensor": tensor.tolist(),
            "background": background.tolist(),
        }
        spectrum["provenance"]["structure"] = dict(structure)
    failure = content.get("failure")
    if failure and failure.get("provenance"):
        failure["provenance"]["structure"] = dict(structure)
    return SiteXesDoc.model_validate(content)
