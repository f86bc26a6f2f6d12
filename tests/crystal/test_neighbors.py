from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from vtc_flows.crystal.neighbors import neighbors_at_least, neighbors_within
from vtc_flows.errors import IsolatedAbsorberError


def test_agrees_with_pymatgen_site_by_site(crystal, crystal_name):
    structure = crystal(crystal_name)
    centers = range(len(structure))
    found = neighbors_within(structure, centers, 5.0)
    assert found.starts[-1] == len(found.indices)
    for c in centers:
        own = slice(found.starts[c], found.starts[c + 1])
        expected = structure.get_neighbors(structure[c], 5.0 + 1e-3)
        assert len(expected) == found.counts()[c]
        np.testing.assert_allclose(
            found.distances_angstrom[own], sorted(n.nn_distance for n in expected), atol=1e-9
        )
        np.testing.assert_allclose(
            np.linalg.norm(found.vectors_angstrom[own], axis=1), found.distances_angstrom[own]
        )
        sums = found.vectors_angstrom[own].sum(axis=0)
        expected_sum = sum(n.coords - structure[c].coords for n in expected)
        np.testing.assert_allclose(sums, expected_sum, atol=1e-8)
        assert (found.centers[own] == c).all()


def test_atoms_on_the_limit_count_whatever_the_rounding():
    for angle in (0.0, 0.3, 1.1):
        turn = np.array(
            [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
        )
        simple = Structure(Lattice(3.0 * turn), ["Fe"], [[0.1, 0.7, 0.3]])
        assert neighbors_within(simple, [0], 3.0).counts().tolist() == [6]
        assert neighbors_within(simple, [0], 12.0).counts().tolist() == [256]


def test_radius_grows_until_there_are_enough():
    sparse = Structure(Lattice.cubic(8.0), ["Fe"], [[0, 0, 0]])
    found = neighbors_at_least(sparse, [0], 5.0, 26)
    assert found.counts()[0] >= 26
    with pytest.raises(IsolatedAbsorberError, match="within 60 A"):
        neighbors_at_least(Structure(Lattice.cubic(70.0), ["Fe"], [[0, 0, 0]]), [0], 9.0, 6)
