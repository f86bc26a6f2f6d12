from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vtc_flows.errors import ClusterError, InputError
from vtc_flows.feff.site_input import EnergyGrid, PotentialSpec, ScfControl, SiteInput


def chain(n_atoms: int, *, n_potentials: int = 2, spacing: float = 1.0) -> SiteInput:
    """Atoms on a line, potential 1 ... n-1 in turn."""
    index = (0, *(1 + i % (n_potentials - 1) for i in range(n_atoms - 1)))
    return SiteInput(
        positions_angstrom=tuple((0.0, 0.0, spacing * i) for i in range(n_atoms)),
        potential_index=index,
        potentials=tuple(
            PotentialSpec.with_default_lmax(28, "Ni", 1.0) for _ in range(n_potentials)
        ),
        scf=ScfControl(radius_angstrom=5 * spacing),
        fms_radii_angstrom=(5 * spacing,),
        grid=EnergyGrid(-30, 5, 0.1),
    )


def test_json_round_trip_is_exact():
    site = replace(chain(20), grid=EnergyGrid(-1 / 3, 2.0, 0.1, "absolute"), core_hole=False)
    assert SiteInput.from_json(site.to_json()) == site
    assert SiteInput.from_json(site.to_json()).digest() == site.digest()


def test_digest_follows_every_setting():
    site = chain(20)
    others = [
        replace(site, core_hole=False),
        replace(site, mesh_refinement=1),
        replace(site, fms_radii_angstrom=(4.0,)),
        replace(site, scf=replace(site.scf, mixing=0.1)),
    ]
    assert len({site.digest(), *(other.digest() for other in others)}) == 5


@pytest.mark.parametrize(
    ("site", "message"),
    [
        (chain(30, n_potentials=13), "13 unique potentials"),
        (chain(1001), "1001 atoms listed"),
        (replace(chain(300), scf=ScfControl(200.0)), "holds 100"),
        (replace(chain(20), fms_radii_angstrom=()), "no radius"),
        (replace(chain(3), potential_index=(0, 1, 0)), "exactly one atom"),
        (replace(chain(3), potential_index=(0, 2, 1)), "do not match"),
        (replace(chain(3), positions_angstrom=((0, 0, 1.0), (0, 0, 0), (0, 0, 2))), "first atom"),
    ],
)
def test_limits_are_named(site, message):
    with pytest.raises(ClusterError, match=message):
        site.check()


def test_a_legal_site_passes():
    chain(200, n_potentials=12).check()


@given(
    fermi=st.floats(-20, -5),
    below=st.integers(1, 400),
    above=st.integers(0, 60),
    step=st.sampled_from([0.05, 0.1, 0.25]),
)
def test_fermi_grid_holds_the_fermi_level(fermi, below, above, step):
    energies = EnergyGrid(-below * step, above * step + step / 2, step).energies_ev(fermi)
    assert np.abs(energies - fermi).min() == 0
    assert (np.diff(energies) > 0).all()
    assert energies[0] == pytest.approx(fermi - below * step)


@given(fermi=st.floats(-20, -5))
def test_absolute_grid_moves_one_point_onto_the_fermi_level(fermi):
    energies = EnergyGrid(-42.0, -3.0, 0.1, "absolute").energies_ev(fermi)
    regular = -42.0 + 0.1 * np.arange(391)
    assert fermi in energies
    assert (np.abs(energies - regular) > 1e-9).sum() <= 1
    assert (np.diff(energies) > 0).all()


def test_fermi_level_outside_an_absolute_grid_moves_nothing():
    energies = EnergyGrid(-42.0, -30.0, 0.1, "absolute").energies_ev(-12.0)
    np.testing.assert_allclose(energies, -42.0 + 0.1 * np.arange(121))


def test_empty_grid_is_refused():
    with pytest.raises(InputError, match="empty"):
        EnergyGrid(5, -5, 0.1)


def test_potentials_are_made_of_the_nearest_atoms_only():
    site = replace(chain(2000, spacing=0.1), n_potential_atoms=40)
    site.check()  # the limit on atoms is FEFF's, not ours
    assert len(site.for_potentials().potential_index) == 40
    assert site.for_potentials() == replace(site.for_potentials(), n_potential_atoms=None)
    with pytest.raises(ClusterError, match="2000 atoms listed"):
        replace(site, n_potential_atoms=None).check()
