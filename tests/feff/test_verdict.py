"""The verdict: good for what FEFF10 really made, and a refusal for each way to tamper with it."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from vtc_flows.errors import EngineOutputError
from vtc_flows.feff.engine import EngineFacts, ScfFacts, SiteSpectrum
from vtc_flows.feff.feffinp import parse_feff_input
from vtc_flows.feff.recovery import REMEDIES
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.feff.verdict import require_good
from vtc_flows.physics.tensors import from_polarizations

RECORDED = Path(__file__).parents[1] / "data" / "feff10"
NAMES = sorted(path.name.removesuffix(".json.gz") for path in RECORDED.glob("*.json.gz"))
#: Operations of the site's point group: 4mm, -3m, -1 of a relaxed cell, -1, 2/m ...
ORDERS = {
    "BaTiO3_P4mm": 8,
    "LiCoO2": 12,
    "brucite_NiOH2": 2,
    "ferrocene": 2,
    "hydrate_CuF2_2H2O": 4,
    "corundum_Cr2O3": 3,
    "pyrite_FeS2": 6,
    "rutile_TiO2": 8,
    "tenorite_CuO": 2,
    "wurtzite_ZnO": 6,
}


@cache
def recorded(name: str) -> tuple[SiteInput, float, np.ndarray, dict[str, np.ndarray]]:
    """Return the input, the Fermi level, the energies and the polarized spectra of a run."""
    with gzip.open(RECORDED / f"{name}.json.gz", "rt") as stream:
        case = json.load(stream)
    energy = np.array(case["e_eV"])
    # the level is recorded with three decimals; FEFF10 moved a point of the grid onto it
    fermi = energy[np.argmin(np.abs(energy - case["e_fermi_eV"]))]
    spectra = {key: np.array(value["mu"]) for key, value in case["spectra"].items()}
    return parse_feff_input(case["feff_inp"], name).site, float(fermi), energy, spectra


def spectrum_of(name: str, **polarized: np.ndarray) -> SiteSpectrum:
    """Return the recorded spectrum, some polarizations replaced."""
    site, fermi, energy, spectra = recorded(name)
    (radius,) = site.fms_radii_angstrom
    return SiteSpectrum(
        fms_atoms=site.count_within(radius),
        fms_radius_angstrom=radius,
        energy_ev=energy,
        e_fermi_ev=fermi,
        tensor=from_polarizations({**spectra, **polarized}),
        background=np.full(len(energy), 0.01),
        edge_cross_section_angstrom2=1e-4,
        photon_edge_ev=5000.0,
        scf=ScfFacts(True, 12),
        engine=EngineFacts("feff10", "executables", "FEFF 10.0.0", "0" * 64),
    )


def refused(spectrum: SiteSpectrum, site: SiteInput) -> str:
    """Return the reason of the refusal, which the recovery knows."""
    with pytest.raises(EngineOutputError) as caught:
        require_good(spectrum, site)
    assert REMEDIES[caught.value.reason] in ("again", "ladder")
    assert len(caught.value.message) > 20
    return caught.value.reason


@pytest.mark.parametrize("name", NAMES)
def test_what_feff10_recorded_is_good(name):
    checks = require_good(spectrum_of(name), recorded(name)[0])
    assert checks["grid_deviation_ev"] < 1e-9
    assert checks["symmetry_operations"] == ORDERS[name]
    assert checks["symmetry_residual"] < 1e-4
    assert 3e-3 < checks["smallest_eigenvalue_relative"] <= checks["smallest_isotropic_relative"]
    assert all(type(value) is float for value in checks.values())


RUTILE = "rutile_TiO2"


def tampered(**changes: object) -> str:
    return refused(replace(spectrum_of(RUTILE), **changes), recorded(RUTILE)[0])


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(
    "field", ["energy_ev", "e_fermi_ev", "tensor", "background", "edge_cross_section_angstrom2"]
)
def test_numbers_that_are_not_finite(field, wrong):
    value = np.array(getattr(spectrum_of(RUTILE), field), dtype=float)
    value[(5,) * value.ndim] = wrong
    changed = value if value.ndim else float(value)
    assert tampered(**{field: changed}) == "output_not_finite"


def test_energies_that_were_not_asked_for():
    good = spectrum_of(RUTILE)
    shifted = good.energy_ev.copy()
    shifted[3] += 2e-4
    assert tampered(energy_ev=shifted) == "wrong_grid"
    assert tampered(energy_ev=good.energy_ev[::-1]) == "wrong_grid"
    assert tampered(e_fermi_ev=good.e_fermi_ev + 0.03) == "wrong_grid"


@pytest.mark.parametrize("field", ["energy_ev", "tensor", "background"])
def test_a_spectrum_that_is_cut_off(field):
    assert tampered(**{field: getattr(spectrum_of(RUTILE), field)[:-1]}) == "wrong_grid"


def test_a_spectrum_of_nothing():
    good = spectrum_of(RUTILE)
    assert tampered(tensor=0 * good.tensor) == "zero_spectrum"
    assert tampered(tensor=-good.tensor) == "zero_spectrum"
    assert tampered(edge_cross_section_angstrom2=0.0) == "zero_spectrum"
    assert tampered(edge_cross_section_angstrom2=-1e-4) == "zero_spectrum"


def test_an_intensity_below_zero():
    good = spectrum_of(RUTILE)
    lowered = good.tensor - 0.02 * good.tensor.max() * np.array([1, 1, 1, 0, 0, 0])
    assert tampered(tensor=lowered) == "negative_spectrum"
    hole = good.tensor.copy()
    hole[100] = -0.01 * good.tensor.max(axis=0)
    assert tampered(tensor=hole) == "negative_spectrum"


def test_noise_around_zero_is_none():
    good = spectrum_of(RUTILE)
    lowered = good.tensor.copy()
    lowered[:20] -= lowered[:20] + 5e-4 * good.tensor.max() * np.array([1, 1, 1, 0, 0, 0])
    checks = require_good(replace(good, tensor=lowered), recorded(RUTILE)[0])
    assert -1e-3 < checks["smallest_isotropic_relative"] < 0


def test_a_spectrum_may_follow_its_background_below_zero():
    good = spectrum_of(RUTILE)
    depth = 0.01 * good.tensor[:, :3].mean(axis=1).max()
    tensor, background = good.tensor.copy(), good.background.copy()
    tensor[:20] = -depth * np.array([1, 1, 1, 0, 0, 0])
    background[:20] = -depth
    site = recorded(RUTILE)[0]
    checks = require_good(replace(good, tensor=tensor, background=background), site)
    assert checks["smallest_isotropic_relative"] == pytest.approx(-0.01)
    tensor[:20] *= 5
    assert tampered(tensor=tensor, background=background) == "negative_spectrum"
    assert tampered(tensor=tensor, background=10 * background) == "negative_spectrum"


def test_a_direction_in_which_it_is_below_zero():
    good = spectrum_of(RUTILE)
    tensor = good.tensor.copy()
    tensor[:, 2] = tensor[:, 2].clip(max=0) - 0.01 * tensor.max()  # zz, which symmetry leaves free
    assert tampered(tensor=tensor) == "tensor_not_positive"


@pytest.mark.parametrize("name", [name for name in NAMES if ORDERS[name] > 2])
def test_one_polarization_that_is_not_like_the_others(name):
    """In a site with more than inversion, one spectrum of another run breaks the symmetry."""
    site, _, _, spectra = recorded(name)
    assert refused(spectrum_of(name, xz=1.05 * spectra["xz"]), site) == "asymmetric_tensor"


def test_a_polarization_file_that_is_left_from_the_one_before():
    _, _, _, spectra = recorded(RUTILE)
    stale = spectrum_of(RUTILE, xy=spectra["z"])
    assert refused(stale, recorded(RUTILE)[0]) in ("asymmetric_tensor", "tensor_not_positive")


def test_a_tensor_in_another_frame():
    """The atoms are turned, the tensor is not."""
    site, _, _, _ = recorded(RUTILE)
    angle = 0.3
    turn = np.array(
        [[1, 0, 0], [0, np.cos(angle), -np.sin(angle)], [0, np.sin(angle), np.cos(angle)]]
    )
    turned = replace(site, positions_angstrom=tuple(map(tuple, (site.positions @ turn.T).tolist())))
    assert refused(spectrum_of(RUTILE), turned) == "asymmetric_tensor"


def test_only_the_atoms_that_scatter_decide_the_symmetry():
    """Atoms beyond the radius do not scatter; a displaced one inside takes the symmetry away."""
    site, _, _, spectra = recorded(RUTILE)
    (radius,) = site.fms_radii_angstrom
    outside = site.positions.copy()
    outside[np.linalg.norm(outside, axis=1) > radius] *= [1.0, 1.1, 1.2]
    inside = site.positions.copy()
    inside[1] += [0.0, 1e-3, 2e-3]
    tensor = spectrum_of(RUTILE, xz=1.05 * spectra["xz"])
    far = replace(site, positions_angstrom=tuple(map(tuple, outside.tolist())))
    near = replace(site, positions_angstrom=tuple(map(tuple, inside.tolist())))
    assert refused(tensor, far) == "asymmetric_tensor"
    assert require_good(tensor, near)["symmetry_operations"] == 1
