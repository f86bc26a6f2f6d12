"""Named structures and the ways in which one crystal can be described."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pymatgen.core import Structure
from pymatgen.core.operations import SymmOp

from vtc_flows.crystal.sources import load_structures

STRUCTURES = Path(__file__).parents[1] / "data" / "structures"

#: Real crystals of differing symmetry; the absorber of each.
CRYSTALS = {
    "rutile_TiO2": "Ti",
    "tenorite_CuO": "Cu",
    "pyrite_FeS2": "Fe",
    "LiCoO2": "Co",
    "corundum_Cr2O3": "Cr",
    "wurtzite_ZnO": "Zn",
    "BaTiO3_P4mm": "Ti",
    "NiO": "Ni",
    "triclinic_Fe2P2O7": "Fe",
}


@pytest.fixture(scope="session")
def structure_path():
    return lambda name: STRUCTURES / f"{name}.cif"


@pytest.fixture(scope="session")
def crystal():
    """Return a function that loads a named structure."""
    cache: dict[str, Structure] = {}

    def load(name: str) -> Structure:
        if name not in cache:
            (record,) = load_structures([STRUCTURES / f"{name}.cif"])
            cache[name] = record.structure
        return cache[name].copy()

    return load


@pytest.fixture(scope="session")
def descriptions():
    """Return a function: the same crystal rotated, as supercells, shuffled, in another cell."""

    def variants(structure: Structure) -> dict[str, Structure]:
        rng = np.random.default_rng(7)
        order = rng.permutation(len(structure))
        shuffled = Structure.from_sites([structure[int(i)] for i in order])
        wide = shuffled.copy()
        wide.make_supercell([2, 1, 1])
        rotated = structure.copy()
        rotated.apply_operation(
            SymmOp.from_axis_angle_and_translation([0.3, -0.5, 0.8], 71.0), fractional=False
        )
        sheared = structure.copy()  # another primitive cell of the same lattice
        sheared.make_supercell([[1, 1, 0], [0, 1, 0], [0, -1, 1]])
        rotated_supercell = rotated.copy()
        rotated_supercell.make_supercell([[1, 1, 0], [1, -1, 0], [0, 0, 1]])
        return {
            "shuffled": shuffled,
            "supercell": wide,
            "rotated": rotated,
            "sheared": sheared,
            "rotated supercell": rotated_supercell,
        }

    return variants


def pytest_generate_tests(metafunc):
    if "crystal_name" in metafunc.fixturenames:
        metafunc.parametrize("crystal_name", list(CRYSTALS))


@pytest.fixture
def absorber_of():
    return CRYSTALS.__getitem__
