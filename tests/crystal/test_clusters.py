from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from vtc_flows.crystal.clusters import (
    absorber_cluster,
    count_within,
    scf_radius,
    shell_radius,
)
from vtc_flows.errors import ClusterError, IsolatedAbsorberError


def test_rock_salt_shells():
    nio = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.2), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    cluster = absorber_cluster(nio, 0)
    assert [count_within(cluster, r) for r in (0.1, 2.2, 3.0, 3.7, 4.25)] == [1, 7, 19, 27, 33]
    assert shell_radius(cluster, 30) == pytest.approx(4.2 + 1e-3)
    assert count_within(cluster, shell_radius(cluster, 27)) == 33
    assert [(p.index, p.label, p.atomic_number, p.stoichiometry) for p in cluster.potentials] == [
        (0, "Ni", 28, 0.01), (1, "O", 8, 1.0), (2, "Ni", 28, 1.0)
    ]  # fmt: skip
    assert cluster.distances_angstrom[-1] <= 9.0 + 1e-3


def test_cluster_is_sorted_whole_and_labelled(crystal, crystal_name, absorber_of):
    structure = crystal(crystal_name)
    symbol = absorber_of(crystal_name)
    site = next(i for i, s in enumerate(structure) if s.specie.symbol == symbol)
    cluster = absorber_cluster(structure, site)
    assert cluster.absorber == symbol
    assert cluster.absorber_index == site
    assert not cluster.positions_angstrom[0].any()
    assert cluster.potential_index[0] == 0
    assert (cluster.potential_index[1:] > 0).all()
    assert (np.diff(cluster.distances_angstrom) > -1e-4).all()
    assert len(cluster) == 1 + len(structure.get_neighbors(structure[site], 9.0 + 1e-3))
    for atom, potential in enumerate(cluster.potential_index):
        assert cluster.potentials[potential].atomic_number == cluster.atomic_numbers[atom]
    reduced = structure.composition.reduced_composition
    for potential in cluster.potentials[1:]:
        assert potential.stoichiometry == reduced[potential.label]


def test_axes_are_those_of_the_crystal(crystal, descriptions):
    structure = crystal("tenorite_CuO")
    rotated = descriptions(structure)["rotated"]
    turn = np.linalg.solve(structure.lattice.matrix, rotated.lattice.matrix)
    one, other = absorber_cluster(structure, 0), absorber_cluster(rotated, 0)
    expected = one.positions_angstrom @ turn
    gaps = np.linalg.norm(expected[:, None] - other.positions_angstrom[None], axis=-1)
    assert gaps.min(axis=1).max() < 1e-8


def test_list_ends_with_a_whole_shell_below_the_limit(crystal):
    cluster = absorber_cluster(crystal("rutile_TiO2"), 0, 20.0)
    assert 900 < len(cluster) <= 1000
    radius = cluster.distances_angstrom[-1]
    complete = absorber_cluster(crystal("rutile_TiO2"), 0, 20.0, max_atoms=5000)
    assert count_within(complete, radius + 2e-3) == len(cluster)


def test_list_grows_for_a_large_scattering_cluster(crystal):
    small = absorber_cluster(crystal("NiO"), 0, 6.0)
    large = absorber_cluster(crystal("NiO"), 0, 6.0, n_neighbors=300)
    assert len(large) > 300 > len(small)
    assert large.distances_angstrom[-1] > shell_radius(large, 300) + 2.0


def test_limits_are_refused_by_name(crystal):
    nio = crystal("NiO")
    with pytest.raises(ClusterError, match=r"1500 neighbours .* 1000 atoms"):
        absorber_cluster(nio, 0, n_neighbors=1500)
    cluster = absorber_cluster(nio, 0)
    assert scf_radius(cluster, 30) == shell_radius(cluster, 30)
    with pytest.raises(ClusterError, match=r"atoms in the SCF .* takes 100"):
        scf_radius(cluster, 110)
    with pytest.raises(ClusterError, match=r"5000 neighbours were asked for, \d+ are listed"):
        shell_radius(cluster, 5000)
    with pytest.raises(ClusterError, match="at least one"):
        shell_radius(cluster, 0)


def test_too_many_elements():
    symbols = ["Fe", "O", "N", "S", "P", "Cl", "Na", "Mg", "Al", "Si", "K", "Ca"]
    coords = [[i % 3 / 3, i // 3 % 2 / 2, i // 6 / 2] for i in range(12)]
    crowd = Structure(Lattice.orthorhombic(7.0, 5.0, 5.0), symbols, coords)
    with pytest.raises(ClusterError, match=r"13 potentials .* takes 12"):
        absorber_cluster(crowd, 0)
    crowd.replace(11, "K")
    assert len(absorber_cluster(crowd, 0).potentials) == 12


def test_an_absorber_alone_is_refused():
    with pytest.raises(IsolatedAbsorberError):
        absorber_cluster(Structure(Lattice.cubic(65.0), ["Fe"], [[0, 0, 0]]), 0)
