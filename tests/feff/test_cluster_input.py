from __future__ import annotations

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure

from vtc_flows.crystal.clusters import absorber_cluster
from vtc_flows.errors import ClusterError
from vtc_flows.feff.cluster_input import site_input
from vtc_flows.schemas import XesSettings

NIO = Structure.from_spacegroup(
    "Fm-3m", Lattice.cubic(4.17), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
)


def cluster(structure: Structure, settings: XesSettings):
    return absorber_cluster(
        structure, 0, settings.listed_radius_angstrom, n_neighbors=settings.n_neighbors
    )


def test_potentials_are_the_same_whatever_the_scattering():
    small, large = XesSettings(fms_atoms=(30,)), XesSettings(fms_atoms=(30, 300))
    few = site_input(cluster(NIO, small), small)
    many = site_input(cluster(NIO, large), large)
    assert len(many.potential_index) > len(few.potential_index)
    assert many.fms_radii_angstrom[0] == few.fms_radii_angstrom[0]
    assert many.for_potentials().positions_angstrom == few.for_potentials().positions_angstrom
    many.check()


def test_settings_arrive():
    asked = XesSettings(
        n_scf_atoms=18, core_hole="none", energy_below_ev=10, scf_mixing=0.1, scf_max_iterations=7
    )
    site = site_input(cluster(NIO, asked), asked)
    assert site.count_within(site.scf.radius_angstrom) == 19
    assert not site.core_hole
    assert (site.grid.start_ev, site.grid.stop_ev, site.grid.origin) == (-10, 5, "fermi")
    assert (site.scf.mixing, site.scf.max_iterations) == (0.1, 7)
    assert [p.stoichiometry for p in site.potentials] == [0.01, 1.0, 1.0]


def test_an_element_far_away_still_gets_its_potential():
    """One neon 9.8 Angstrom away, beyond the atoms that usually make the potentials."""
    cell = NIO.copy()
    cell.make_supercell([5, 5, 5])
    distance = cell.lattice.get_all_distances(cell.frac_coords[:1], cell.frac_coords)[0]
    far = int(np.argmin(np.abs(distance - 9.8)))
    assert distance[far] > 9.0
    cell.replace(far, "Ne")
    asked = XesSettings(fms_atoms=(30, 300))
    site = site_input(cluster(cell, asked), asked)
    site.check()
    assert 10 in [p.atomic_number for p in site.potentials]


def test_too_many_scf_atoms_are_refused():
    asked = XesSettings(n_scf_atoms=99)
    with pytest.raises(ClusterError, match="SCF"):
        site_input(cluster(NIO, asked), asked)
