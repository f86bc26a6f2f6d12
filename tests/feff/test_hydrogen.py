"""Bonds with hydrogen: what FEFF's own routine does where it ends, and an end where it has none."""

from __future__ import annotations

import ctypes

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymatgen.core import Lattice, Structure

from vtc_flows.crystal.clusters import absorber_cluster
from vtc_flows.feff.cluster_input import site_input
from vtc_flows.feff.discovery import find_feff8l
from vtc_flows.feff.elf import HookedLibrary
from vtc_flows.feff.hydrogen import lengthened_bonds
from vtc_flows.feff.registry import create_engine
from vtc_flows.feff.units import BOHR_ANGSTROM
from vtc_flows.schemas import XesSettings
from vtc_flows.settings import load_settings

_MOST_ATOMS = 1000


@pytest.fixture
def hydride() -> Structure:
    """Return MnH as mp-24416 (NiAs type): hydrogen in the middle of octahedra."""
    return Structure.from_spacegroup(
        "P6_3/mmc",
        Lattice.hexagonal(2.602, 5.102),
        ["Mn", "H"],
        [[0, 0, 0], [1 / 3, 2 / 3, 1 / 4]],
    )


def site_of(structure: Structure, **changes):
    chosen = XesSettings(**changes)
    return site_input(absorber_cluster(structure, 0), chosen)


def by_feff(positions, numbers):
    """Do it with FEFF 8.5L's own routine."""
    library = HookedLibrary(find_feff8l(load_settings()).library)
    kinds = sorted(set(numbers.tolist()))
    of_potentials = np.zeros(12, np.int32)
    of_potentials[: len(kinds)] = kinds
    index = np.zeros(_MOST_ATOMS, np.int32)
    index[: len(numbers)] = [kinds.index(number) for number in numbers]
    moved = np.zeros((_MOST_ATOMS, 3))
    moved[: len(numbers)] = positions
    count = ctypes.c_int32(len(numbers))
    arrays = [each.ctypes.data for each in (index, of_potentials, moved)]
    library.routine("moveh_", 4)(ctypes.addressof(count), *arrays)
    return moved[: len(numbers)]


@pytest.mark.engine
def test_a_molecular_crystal_as_feff_does_it(crystal):
    site = site_of(crystal("ferrocene")).for_potentials()
    places, numbers = site.positions / BOHR_ANGSTROM, site.atomic_numbers
    moved, endless = lengthened_bonds(places, numbers)
    assert endless == []
    assert np.allclose(moved, by_feff(places, numbers), rtol=0, atol=1e-12)
    bonds = np.linalg.norm(moved - places, axis=1)
    assert (bonds[numbers == 1] > 0.1).any()
    assert (bonds[numbers != 1] == 0.0).all()


@pytest.mark.engine
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_molecules_at_random_as_feff_does_it(seed):
    random = np.random.default_rng(seed)
    heavy = random.uniform(-9, 9, (12, 3))
    heavy = heavy[
        [
            np.linalg.norm(heavy - x, axis=1)[np.arange(12) != i].min() > 2.0
            for i, x in enumerate(heavy)
        ]
    ]
    heavy = heavy if len(heavy) > 1 else np.array([[0.0, 0, 0], [0, 0, 4.0]])
    bonds = random.normal(size=(len(heavy), 3))
    bonds *= random.uniform(1.7, 2.1, (len(heavy), 1)) / np.linalg.norm(bonds, axis=1)[:, None]
    places = np.concatenate([heavy, heavy + bonds])
    numbers = np.array([*random.choice([6, 7, 8, 26], len(heavy)), *[1] * len(heavy)])
    moved, endless = lengthened_bonds(places, numbers)
    if not endless:  # FEFF would hang
        assert np.allclose(moved, by_feff(places, numbers), rtol=0, atol=1e-12)


def test_hydrogen_in_the_middle_stays_there(hydride):
    site = site_of(hydride).for_potentials()
    places, numbers = site.positions / BOHR_ANGSTROM, site.atomic_numbers
    moved, endless = lengthened_bonds(places, numbers)
    assert endless
    assert np.array_equal(moved[endless], places[endless])


def test_positions_that_are_rounded_have_an_end_in_nearly_the_same_place(hydride):
    site = site_of(hydride).for_potentials()
    places = np.round(site.positions, 5) / BOHR_ANGSTROM  # as FEFF10 reads them
    moved, _ = lengthened_bonds(places, site.atomic_numbers)
    assert np.abs(moved - places).max() < 1e-4


@pytest.mark.engine
def test_a_metal_hydride_is_computed(hydride):
    engine = create_engine("feff8l", load_settings(site_timeout_s=300))
    (spectrum,) = engine.run(absorber_cluster(hydride, 0), XesSettings())
    assert spectrum.scf.converged
