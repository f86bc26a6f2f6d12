from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from vtc_flows.errors import EngineOutputError, InputError
from vtc_flows.scattering.mesh import EnergyMesh
from vtc_flows.scattering.multiple_scattering import absorber_green
from vtc_flows.scattering.tensor import PhaseData, emission_tensor

RECORD = Path(__file__).parents[1] / "data" / "scattering" / "tenorite_cu.npz"


@pytest.fixture(scope="module")
def site():
    """Every third energy of the recorded phases, and the nearest atoms."""
    with np.load(RECORD) as record:
        n, fermi = int(record["n_horizontal"]), int(record["fermi_index"])
        first = fermi % 3
        taken = np.r_[np.arange(first, n, 3), np.arange(n, len(record["energy_ha"]))]
        mesh = EnergyMesh(record["energy_ha"][taken], len(range(first, n, 3)), fermi // 3)
        names = ("reference_ha", "phases", "dipole", "cross_section", "normalisation")
        data = PhaseData(mesh, lmax=record["lmax"], **{k: record[k][taken] for k in names})
        return data, record["positions_bohr"][:11], record["potential_index"][:11]


def unpacked(tensor):
    matrix = np.empty((len(tensor), 3, 3))
    for column, (i, j) in enumerate(((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))):
        matrix[:, i, j] = matrix[:, j, i] = tensor[:, column]
    return matrix


def test_tensor_turns_with_the_cluster(site):
    data, positions, potentials = site
    rotation = Rotation.random(rng=np.random.default_rng(7)).as_matrix()
    plain = unpacked(emission_tensor(data, positions, potentials).tensor)
    turned = unpacked(emission_tensor(data, positions @ rotation.T, potentials).tensor)
    np.testing.assert_allclose(
        turned, rotation @ plain @ rotation.T, atol=2e-5 * np.abs(plain).max()
    )


def test_a_lone_atom_emits_its_background(site):
    data, positions, potentials = site
    lone = emission_tensor(data, positions[:1], potentials[:1])
    np.testing.assert_allclose(
        lone.tensor[:, :3], np.repeat(lone.background[:, None], 3, 1), rtol=1e-12
    )
    assert not lone.tensor[:, 3:].any()


def test_background_does_not_depend_on_the_cluster(site):
    data, positions, potentials = site
    lone = emission_tensor(data, positions[:1], potentials[:1])
    more = emission_tensor(data, positions, potentials)
    np.testing.assert_allclose(lone.background, more.background, rtol=1e-12)
    assert np.abs(more.tensor[:, 0] - more.background).max() > 0.05 * more.background.max()


@pytest.mark.parametrize("method", ["lu", "lu-unsymmetrised"])
def test_methods_agree(site, method):
    data, positions, potentials = site
    quick = emission_tensor(data, positions, potentials).tensor
    full = emission_tensor(data, positions, potentials, method=method).tensor
    np.testing.assert_allclose(quick, full, atol=2e-5 * np.abs(full).max())


def test_other_energies_are_interpolated(site):
    data, positions, potentials = site
    on_mesh = emission_tensor(data, positions, potentials)
    between = (on_mesh.energy_ha[1:] + on_mesh.energy_ha[:-1]) / 2
    wanted = np.sort(np.r_[on_mesh.energy_ha, between])
    finer = emission_tensor(data, positions, potentials, energy_ha=wanted)
    # The points asked for also divide the contour, which moves the result a little.
    np.testing.assert_allclose(
        finer.tensor[::2], on_mesh.tensor, atol=1e-2 * np.abs(on_mesh.tensor).max()
    )
    above = wanted > data.mesh.fermi_ha + 1e-6
    expected = np.interp(wanted, on_mesh.energy_ha, on_mesh.tensor[:, 0])
    np.testing.assert_allclose(finer.tensor[above, 0], expected[above], rtol=0.2)


def test_energies_below_the_mesh_are_refused(site):
    data, positions, potentials = site
    with pytest.raises(InputError, match="below the first point"):
        emission_tensor(data, positions, potentials, energy_ha=np.array([-100.0]))


def test_unknown_method_is_refused(site):
    _, positions, potentials = site
    with pytest.raises(InputError, match="unknown method"):
        absorber_green(
            positions, potentials, np.zeros(0), np.zeros((0, 3, 4)), [3, 3, 3], method="qr"
        )


@pytest.mark.parametrize("name", ["phases", "dipole", "cross_section", "reference_ha"])
def test_numbers_that_are_not_finite_are_refused(site, name):
    data, _, _ = site
    spoiled = getattr(data, name).copy()
    spoiled[0] = np.nan
    with pytest.raises(EngineOutputError, match=name):
        replace(data, **{name: spoiled})


def test_shapes_that_do_not_agree_are_refused(site):
    data, _, _ = site
    with pytest.raises(EngineOutputError, match="shape"):
        replace(data, normalisation=data.normalisation[:-1])
    with pytest.raises(EngineOutputError, match="lmax"):
        replace(data, lmax=np.array([4, 3, 3]))
