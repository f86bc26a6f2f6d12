from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import DummySpecies, Lattice, Molecule, Structure

from vtc_flows.crystal.checks import validate
from vtc_flows.errors import (
    DisorderedStructureError,
    IsolatedAbsorberError,
    NoTransitionMetalError,
    OverlappingAtomsError,
    StructureError,
)


def test_real_crystals_pass(crystal, crystal_name, absorber_of):
    validate(crystal(crystal_name))
    validate(crystal(crystal_name), absorber_of(crystal_name))


@pytest.mark.parametrize(
    ("name", "error", "says"),
    [
        ("disordered_CoNiO2", DisorderedStructureError, "4 of 8 sites .* Co.*order"),
        ("rocksalt_NaCl", NoTransitionMetalError, "NaCl holds none of Sc"),
        ("overlapping_TiO2", OverlappingAtomsError, r"sites 2 \(O\) and 6 \(O\).*0\.252 A"),
        ("isolated_Fe", IsolatedAbsorberError, "no atom within 5.5 A"),
    ],
)
def test_unusable_crystals_are_refused(crystal, name, error, says):
    with pytest.raises(error, match=says):
        validate(crystal(name))


def test_wrong_absorber(crystal):
    with pytest.raises(NoTransitionMetalError, match="holds no Cu; it has Ni"):
        validate(crystal("NiO"), "Cu")
    with pytest.raises(NoTransitionMetalError, match="'O' is not a 3d transition metal"):
        validate(crystal("NiO"), "O")


def test_only_the_absorber_asked_for_must_have_neighbours():
    # copper 5.6 A from everything; the iron pair is close
    lattice = Lattice.orthorhombic(11.2, 11.2, 11.2)
    both = Structure(lattice, ["Cu", "Fe", "Fe"], [[0, 0, 0], [0.5, 0.5, 0.4], [0.5, 0.5, 0.62]])
    validate(both, "Fe")
    with pytest.raises(IsolatedAbsorberError, match=r"site 0 \(Cu\)"):
        validate(both, "Cu")


@pytest.mark.parametrize(
    ("structure", "says"),
    [
        (Molecule(["Fe"], [[0, 0, 0]]), "Molecule is not a crystal"),
        (Structure(Lattice.cubic(3.0), [], []), "holds no atoms"),
        (Structure(Lattice.cubic(3.0, pbc=(True, True, False)), ["Fe"], [[0, 0, 0]]), "periodic"),
        (Structure(Lattice.cubic(3.0), ["Fe"], [[0, 0, np.nan]]), "finite"),
        (Structure(Lattice([[3, 0, 0], [3, 1e-3, 0], [0, 0, 3]]), ["Fe"], [[0, 0, 0]]), "thick"),
        (Structure(Lattice.cubic(3.0), [DummySpecies("X")], [[0, 0, 0]]), "not a chemical element"),
    ],
    ids=["molecule", "empty", "slab", "nan", "flat", "dummy"],
)
def test_what_is_no_crystal_is_refused(structure, says):
    with pytest.raises(StructureError, match=says):
        validate(structure)


def test_short_but_real_bonds_pass():
    # vanadyl V=O 1.58 A, hydroxide O-H 0.96 A
    structure = Structure(
        Lattice.cubic(6.0), ["V", "O", "O", "H"],
        [[0, 0, 0], [0, 0, 1.58], [1.9, 0, 0], [2.86, 0, 0]], coords_are_cartesian=True,
    )  # fmt: skip
    validate(structure)
