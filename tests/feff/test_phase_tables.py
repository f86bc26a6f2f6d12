from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from vtc_flows.crystal import clusters
from vtc_flows.errors import EngineOutputError
from vtc_flows.feff import site_input
from vtc_flows.feff.phase_files import (
    CrossSectionFile,
    PhaseFile,
    read_cross_section,
    read_phase_pad,
)
from vtc_flows.feff.phase_tables import (
    emission_mesh,
    interpolated,
    merge_windows,
    wanted_energies,
    windows,
)
from vtc_flows.feff.site_input import EnergyGrid, PotentialSpec, ScfControl, SiteInput
from vtc_flows.feff.units import HARTREE_EV

FERMI_HA = -0.45


def site(grid: EnergyGrid) -> SiteInput:
    return SiteInput(
        positions_angstrom=((0.0, 0.0, 0.0), (0.0, 0.0, 2.0)),
        potential_index=(0, 1),
        potentials=(
            PotentialSpec.with_default_lmax(22, "Ti", 0.01),
            PotentialSpec.with_default_lmax(3, "Li", 1.0),
        ),
        scf=ScfControl(2.1),
        fms_radii_angstrom=(2.1,),
        grid=grid,
    )


def smooth(energy_ha: np.ndarray, *shape: int) -> np.ndarray:
    """Return smooth complex functions of the energy, a different one for each element."""
    number = np.arange(int(np.prod(shape))).reshape(shape)
    z = energy_ha.reshape(-1, *[1] * len(shape))
    return (0.3 + 0.1 * number) * np.sin(2 * z + number) + 0.05j * number * z


def files(energy_ha: np.ndarray, n_horizontal: int, fermi_index: int):
    """Return what FEFF would write if its functions were those of `smooth`."""
    phases = PhaseFile(
        energy_ha=energy_ha,
        reference_ha=smooth(energy_ha),
        phases=(smooth(energy_ha, 6), smooth(energy_ha, 5)),
        atomic_numbers=(22, 3),
        reduced_elements=smooth(energy_ha, 2),
        n_horizontal=n_horizontal,
        fermi_index=fermi_index,
        fermi_ha=FERMI_HA,
        edge_ha=FERMI_HA,
    )
    return phases, CrossSectionFile(smooth(energy_ha), smooth(energy_ha).real, 182.0)


def test_limits_are_the_same_in_both_places():
    assert clusters.MAX_POTENTIALS == site_input.MAX_POTENTIALS
    assert clusters.MAX_LISTED_ATOMS == site_input.MAX_ATOMS
    assert clusters.MAX_SCF_ATOMS == site_input.MAX_SCF_ATOMS


def test_mesh_ends_at_the_fermi_level():
    mesh = emission_mesh(site(EnergyGrid(-30, 5, 0.1)), FERMI_HA)
    assert mesh.n_horizontal == 301
    assert mesh.fermi_index == 300
    assert mesh.fermi_ha == FERMI_HA
    assert mesh.energy_ha[0].real * HARTREE_EV == pytest.approx(FERMI_HA * HARTREE_EV - 30)
    # half the width of Ti's K level
    assert mesh.loss_ha * HARTREE_EV == pytest.approx(0.90298 / 2, rel=1e-4)


def test_mesh_goes_on_to_a_fermi_level_beyond_the_grid():
    asked = site(EnergyGrid(-30.0, -20.0, 0.5, "absolute"))
    mesh = emission_mesh(asked, FERMI_HA)
    steps = np.diff(mesh.energy_ha[: mesh.n_horizontal].real) * HARTREE_EV
    assert steps.max() <= 0.5 + 1e-9
    assert mesh.fermi_ha == FERMI_HA
    assert len(wanted_energies(asked, FERMI_HA)) == 21


def test_windows_cover_the_mesh_once_and_carry_the_axis():
    mesh = emission_mesh(site(EnergyGrid(-30, 5, 0.1)), FERMI_HA)
    pieces = windows(mesh, 150)
    assert len(pieces) > 1
    assert all(len(piece.energy_ha) <= 150 for piece in pieces)
    below = np.concatenate([piece.energy_ha[: piece.fermi_index] for piece in pieces])
    np.testing.assert_array_equal(below, mesh.energy_ha[: mesh.fermi_index])
    for piece in pieces:
        np.testing.assert_array_equal(
            piece.energy_ha[piece.fermi_index :], mesh.energy_ha[mesh.fermi_index :]
        )


@pytest.mark.parametrize("grid", [EnergyGrid(-30, 5, 0.1), EnergyGrid(1.0, 5.0, 0.1)])
def test_windows_join_to_the_functions_they_came_from(grid):
    asked = site(grid)
    mesh = emission_mesh(asked, FERMI_HA)
    pieces = [files(w.energy_ha, w.n_horizontal, w.fermi_index) for w in windows(mesh, 150)]
    data = merge_windows(pieces, mesh, asked)
    np.testing.assert_array_equal(data.reference_ha, smooth(mesh.energy_ha))
    np.testing.assert_array_equal(data.dipole, smooth(mesh.energy_ha, 2))
    np.testing.assert_array_equal(data.phases[:, 0], smooth(mesh.energy_ha, 6)[:, :4])
    # lithium scatters up to l = 2 only
    np.testing.assert_array_equal(data.phases[:, 1, :3], smooth(mesh.energy_ha, 5)[:, :3])
    assert not data.phases[:, 1, 3].any()
    assert data.lmax.tolist() == [3, 2]


def test_coarse_files_are_interpolated_and_jumps_by_pi_do_not_matter():
    asked = site(EnergyGrid(-17, 5, 0.1))
    mesh = emission_mesh(asked, FERMI_HA)
    coarse = np.linspace(mesh.energy_ha[0].real, FERMI_HA, 90) + 1j * mesh.loss_ha
    vertical = mesh.energy_ha[mesh.n_horizontal :]
    above = FERMI_HA + np.arange(1, 11) * 0.01 + 1j * mesh.loss_ha
    phases, section = files(np.concatenate([coarse, above, vertical]), 100, 89)
    jumping = phases.phases[0] + np.pi * (np.arange(len(phases.energy_ha)) % 2)[:, None]
    data = interpolated(replace(phases, phases=(jumping, phases.phases[1])), section, mesh, asked)
    below = slice(0, mesh.fermi_index + 1)
    np.testing.assert_allclose(data.reference_ha[below], smooth(mesh.energy_ha)[below], atol=1e-6)
    expected = np.exp(2j * smooth(mesh.energy_ha, 6)[:, :4])
    np.testing.assert_allclose(np.exp(2j * data.phases[:, 0]), expected, atol=1e-5)


def test_files_that_are_not_there_or_broken_are_named(tmp_path):
    with pytest.raises(EngineOutputError, match=r"phase\.pad was not written"):
        read_phase_pad(tmp_path / "phase.pad")
    broken = tmp_path / "xsect.json"
    for content, message in (
        ('{"ne": 3', "cannot be read"),
        (json.dumps({"ne": 1, "emu": 1.0, "dum1": [1.0], "dum2": [1.0]}), "xsnorm"),
        (
            json.dumps({"ne": 1, "emu": 1.0, "dum1": [float("nan")], "dum2": [1], "xsnorm": [1]}),
            "not finite",
        ),
    ):
        broken.write_text(content)
        with pytest.raises(EngineOutputError, match=message):
            read_cross_section(broken)
