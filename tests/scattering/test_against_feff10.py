"""The whole path against spectra that FEFF10 made from the same phase shifts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vtc_flows.scattering.mesh import EnergyMesh, xes_mesh
from vtc_flows.scattering.tensor import Emission, PhaseData, emission_tensor

DATA = Path(__file__).parents[1] / "data" / "scattering"
CASES = ("rutile_ti", "tenorite_cu")


def load(name):
    with np.load(DATA / f"{name}.npz") as stored:
        return dict(stored)


def phase_data(record):
    mesh = EnergyMesh(record["energy_ha"], int(record["n_horizontal"]), int(record["fermi_index"]))
    fields = ("reference_ha", "phases", "lmax", "dipole", "cross_section", "normalisation")
    return PhaseData(mesh, **{name: record[name] for name in fields})


def along(tensor, direction):
    matrix = np.empty((len(tensor), 3, 3))
    for column, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        matrix[:, i, j] = matrix[:, j, i] = tensor[:, column]
    return np.einsum("i,eij,j->e", direction, matrix, direction)


@pytest.fixture(scope="module", params=CASES)
def case(request):
    record = load(request.param)
    emission = emission_tensor(
        phase_data(record), record["positions_bohr"], record["potential_index"], refine=1
    )
    return record, emission


def test_spectra_agree_with_feff10(case):
    record, emission = case
    for direction, recorded in zip(record["polarizations"], record["mu"], strict=True):
        deviation = np.abs(along(emission.tensor, direction) - recorded).max()
        assert deviation < 1e-4 * recorded.max()  # FEFF10 solves in single precision


def test_a_recorded_direction_sees_an_off_diagonal_element():
    # Else the comparison above would not notice a wrong sign or frame.
    x, y, _, xy, _ = load("tenorite_cu")["mu"]
    assert np.abs(xy - (x + y) / 2).max() > 0.05 * x.max()


def test_background_agrees_with_feff10(case):
    record, emission = case
    np.testing.assert_allclose(emission.background, record["mu0"], rtol=2e-5)


def test_mesh_is_that_of_feff10(case):
    record, _ = case
    mesh = phase_data(record).mesh
    own = xes_mesh(mesh.energy_ha[: mesh.n_horizontal].real, mesh.fermi_ha, mesh.loss_ha)
    np.testing.assert_allclose(own.energy_ha, mesh.energy_ha, atol=1e-9)
    assert own.fermi_index == mesh.fermi_index


def test_only_the_energies_that_matter_are_read(case):
    record, emission = case
    data = phase_data(record)
    spoiled = record["phases"].copy()
    spoiled[~data.mesh.matters] = np.nan
    again = emission_tensor(
        phase_data({**record, "phases": spoiled}),
        record["positions_bohr"],
        record["potential_index"],
        refine=1,
    )
    assert isinstance(again, Emission)
    np.testing.assert_array_equal(again.tensor, emission.tensor)
