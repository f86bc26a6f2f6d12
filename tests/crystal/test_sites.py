from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from vtc_flows.crystal.sites import absorbers, crystal_symmetry, site_orbits
from vtc_flows.errors import NoTransitionMetalError, StructureError

SPACE_GROUPS = {
    "rutile_TiO2": 136, "tenorite_CuO": 15, "pyrite_FeS2": 205, "LiCoO2": 166,
    "corundum_Cr2O3": 167, "wurtzite_ZnO": 186, "BaTiO3_P4mm": 99, "NiO": 225,
    "triclinic_Fe2P2O7": 1,
}  # fmt: skip

#: Order of the absorber's point group: mmm, -1, -3, -3m, 3, 3m, 4mm, m-3m, 1.
SITE_GROUP_ORDERS = {
    "rutile_TiO2": 8, "tenorite_CuO": 2, "pyrite_FeS2": 6, "LiCoO2": 12, "corundum_Cr2O3": 3,
    "wurtzite_ZnO": 6, "BaTiO3_P4mm": 8, "NiO": 48, "triclinic_Fe2P2O7": 1,
}  # fmt: skip


def surroundings(structure, index, radius=4.5):
    """Return neighbour vectors with the atomic number as a fourth coordinate."""
    around = structure.get_neighbors(structure[index], radius)
    return np.array([[*(n.coords - structure[index].coords), 100.0 * n.specie.Z] for n in around])


def largest_mismatch(carried, actual):
    assert len(carried) == len(actual)
    return np.linalg.norm(carried[:, None] - actual[None], axis=-1).min(axis=1).max()


def test_space_group_and_site_group(crystal, crystal_name, absorber_of):
    structure = crystal(crystal_name)
    assert crystal_symmetry(structure).number == SPACE_GROUPS[crystal_name]
    orbit = site_orbits(structure, absorber_of(crystal_name))[0]
    assert len(orbit.site_rotations) == SITE_GROUP_ORDERS[crystal_name]


def test_operations_are_rotations_and_form_a_group(crystal, crystal_name):
    rotations = crystal_symmetry(crystal(crystal_name)).rotations
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.tile(np.eye(3), (len(rotations), 1, 1)),
        atol=1e-12,
    )  # fmt: skip
    products = (rotations[:, None] @ rotations[None]).reshape(-1, 1, 3, 3)
    assert abs(products - rotations[None]).max(axis=(-1, -2)).min(axis=1).max() < 1e-12


def test_rotations_carry_the_surroundings(crystal, crystal_name, absorber_of, descriptions):
    element = absorber_of(crystal_name)
    structure = crystal(crystal_name)
    for cell in (structure, *descriptions(structure).values()):
        for orbit in site_orbits(cell, element):
            own = surroundings(cell, orbit.representative)
            for index, rotation in zip(orbit.indices, orbit.rotations, strict=True):
                carried = np.column_stack([own[:, :3] @ rotation.T, own[:, 3]])
                assert largest_mismatch(carried, surroundings(cell, index)) < 0.02
            for rotation in orbit.site_rotations:
                carried = np.column_stack([own[:, :3] @ rotation.T, own[:, 3]])
                assert largest_mismatch(carried, own) < 0.02


def test_orbits_do_not_depend_on_the_description(crystal, crystal_name, absorber_of, descriptions):
    element = absorber_of(crystal_name)
    structure = crystal(crystal_name)
    reference = site_orbits(structure, element)
    weight = sorted(orbit.multiplicity / len(structure) for orbit in reference)
    order = sorted(len(orbit.site_rotations) for orbit in reference)
    for cell in descriptions(structure).values():
        orbits = site_orbits(cell, element)
        assert sorted(orbit.multiplicity / len(cell) for orbit in orbits) == pytest.approx(weight)
        assert sorted(len(orbit.site_rotations) for orbit in orbits) == order
        assert all(orbit.representative == min(orbit.indices) for orbit in orbits)
        for orbit in orbits:
            np.testing.assert_allclose(orbit.rotations[0], np.eye(3), atol=1e-12)


def test_conventional_lattice_turns_with_the_crystal(crystal, crystal_name, descriptions):
    structure = crystal(crystal_name)
    symmetry = crystal_symmetry(structure)
    variants = descriptions(structure)
    turn = np.linalg.solve(structure.lattice.matrix, variants["rotated"].lattice.matrix)  # rows
    for name, cell in variants.items():
        other = crystal_symmetry(cell)
        expected = symmetry.conventional_lattice @ (turn if "rotated" in name else np.eye(3))
        directions = [
            row @ w.T
            for row in other.conventional_lattice
            for w in (*other.rotations, *-other.rotations)
        ]
        for row in expected:  # each is one of the other's vectors, up to the crystal's symmetry
            assert min(np.linalg.norm(row - d) for d in directions) < 0.02


def test_conventional_lattice_spans_the_crystal(crystal, crystal_name):
    structure = crystal(crystal_name)
    symmetry = crystal_symmetry(structure)
    steps = symmetry.conventional_lattice @ np.linalg.inv(structure.lattice.matrix)
    np.testing.assert_allclose(steps, np.round(steps), atol=2e-3)


def test_pyrite_has_cubic_crystal_and_four_unlike_oriented_sites(crystal):
    (orbit,) = site_orbits(crystal("pyrite_FeS2"), "Fe")
    # the threefold axes of the four sites are the four body diagonals
    axes = [w @ np.ones(3) / np.sqrt(3) for w in orbit.rotations]
    assert [round(abs(float(axis @ axes[0])), 6) for axis in axes] == [1, *3 * [0.333333]]
    for rotation in orbit.site_rotations:
        np.testing.assert_allclose(abs(rotation @ np.ones(3)), np.ones(3), atol=1e-9)


def test_absorbers_in_order_and_refusals(crystal):
    mixed = Structure(Lattice.cubic(4.0), ["Cu", "Fe", "O"], [[0, 0, 0], [0.5] * 3, [0.5, 0, 0]])
    assert absorbers(mixed) == ["Fe", "Cu"]
    with pytest.raises(NoTransitionMetalError, match="none of Sc"):
        absorbers(crystal("rocksalt_NaCl"))
    with pytest.raises(NoTransitionMetalError, match="holds no Zn"):
        site_orbits(crystal("NiO"), "Zn")
    with pytest.raises(NoTransitionMetalError, match="holds no iron; its elements are Ni, O"):
        site_orbits(crystal("NiO"), "iron")


def test_no_symmetry_for_atoms_on_top_of_each_other():
    twice = Structure(Lattice.cubic(4.0), ["Fe", "Fe"], [[0, 0, 0], [0, 0, 1e-4]])
    with pytest.raises(StructureError, match="on top of each other"):
        crystal_symmetry(twice)
