"""The emission of the valence from FEFF10's files: recorded ones, and with a core line planted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from pymatgen.core import Lattice, Structure
from recorded_valence import Recorded, recorded_valence

from vtc_flows.errors import EngineOutputError
from vtc_flows.feff.cluster_input import site_input
from vtc_flows.feff.feff10 import xmu_name
from vtc_flows.feff.feff10_output import read_xmu
from vtc_flows.feff.feff10_valence import ValenceSpectra
from vtc_flows.feff.registry import create_engine
from vtc_flows.feff.site_input import LowerEnd
from vtc_flows.schemas import XesSettings
from vtc_flows.settings import load_settings
from vtc_flows.workflow.jobs import site_cluster

#: How much stronger than the valence the planted line is, as 3p to 1s is.
STRONGER = 100.0
#: Width of the level itself (eV): its pole lies below the axis, by too little to have a tail.
NARROW_EV = 1e-6


@pytest.fixture(scope="module")
def both() -> list[Recorded]:
    return recorded_valence()


@pytest.fixture(scope="module")
def small(both) -> Recorded:
    return both[0]


@pytest.fixture(scope="module")
def fermi_ev(small) -> float:
    return float(small.section.energy_ev[small.section.fermi_index].real)


def with_line(recorded: Recorded, level_ev: float) -> Recorded:
    """Plant a core line into the embedded atom, and let all occupied states emit anew."""
    section = recorded.section
    from_level = section.energy_ev - level_ev + 1j * NARROW_EV
    on_line = np.abs(from_level[: section.n_horizontal]).min()
    height = STRONGER * max(one.mu.max() for one in recorded.xmu.values())
    section = replace(section, cross_section=section.cross_section - height * on_line / from_level)
    planted = replace(recorded, section=section)
    own = planted.own()
    xmu = {name: replace(one, mu=own[name]) for name, one in recorded.xmu.items()}
    return replace(planted, xmu=xmu)


def require_unchanged(found: ValenceSpectra, wanted: ValenceSpectra) -> None:
    """Require the same emission to 1e-3 of its largest value; to 1e-2 within 1 eV of the bottom."""
    scale = wanted.tensor.max()
    at_bottom = np.abs(wanted.energy_ev - wanted.bottom.energy_ev) < 1.1
    for one, other in ((found.tensor, wanted.tensor), (found.background, wanted.background)):
        assert np.abs(one - other)[~at_bottom].max() < 1e-3 * scale
        assert np.abs(one - other).max() < 1e-2 * scale  # the corner of the contour, 0.5 eV steps


@pytest.mark.parametrize("size", [0, 1])
def test_with_all_occupied_states_the_integral_gives_feff10s_spectra(both, size):
    recorded = both[size]
    for name, found in recorded.own().items():
        wanted = recorded.xmu[name].mu
        assert np.abs(found - wanted).max() < 1e-9 * wanted.max()


def test_and_its_atomic_background(small):
    nothing = {"x": np.zeros_like(small.fine_structure["x"])}
    (found,) = replace(small, fine_structure=nothing).own().values()
    wanted = small.xmu["x"].mu0
    assert np.abs(found - wanted).max() < 1e-9 * wanted.max()


def test_zinc_has_no_core_line_near_its_valence(small, fermi_ev):
    """So what the valence emits is what all states emit, but for the tails from further below."""
    emission = small.valence(refine=1)
    assert emission.bottom.method == "depth"
    assert emission.bottom.level_3p_ev is None
    assert emission.bottom.energy_ev == pytest.approx(fermi_ev - 30.0)
    assert emission.energy_ev == pytest.approx(fermi_ev + 0.5 * np.arange(-60, 11), abs=1e-4)
    for number, name in enumerate("xyz"):
        own = small.xmu[name].mu[-len(emission.energy_ev) :]
        # FEFF10's contour ends where its grid begins. It takes what emits further below for as
        # strong as what emits at the energy itself: at 30 eV from the bottom a hundredth
        assert 1e-3 < np.abs(emission.tensor[:, number] - own).max() / own.max() < 1.5e-2


@pytest.mark.parametrize("size", [0, 1])
def test_a_strong_line_below_the_bottom_leaves_the_valence_as_it_was(both, size, fermi_ev):
    recorded = both[size]
    planted = with_line(recorded, fermi_ev - 33.0)
    emission, wanted = planted.valence(), recorded.valence()
    assert emission.bottom.energy_ev == wanted.bottom.energy_ev
    assert emission.bottom.level_3p_ev == pytest.approx(fermi_ev - 33.0, abs=0.05)
    require_unchanged(emission, wanted)
    scale = wanted.tensor.max()
    # and it would have been in the way: where all states emit, its tail lies over the valence
    own = planted.xmu["x"].mu - recorded.xmu["x"].mu
    assert own[-len(emission.energy_ev) :].max() > scale


def test_a_strong_line_raises_the_bottom_above_itself(small, fermi_ev):
    emission = with_line(small, fermi_ev - 29.0).valence()
    assert emission.bottom.method == "3p"
    assert emission.bottom.level_3p_ev == pytest.approx(fermi_ev - 29.0, abs=0.05)
    assert emission.bottom.energy_ev == pytest.approx(fermi_ev - 26.0, abs=0.51)
    steps = (fermi_ev - emission.bottom.energy_ev) / 0.5
    assert steps == pytest.approx(round(steps), abs=1e-6)
    depth = fermi_ev - emission.bottom.energy_ev
    wanted = small.valence(LowerEnd(depth, above_3p=False))
    assert wanted.bottom.method == "given"
    require_unchanged(emission, wanted)


@pytest.mark.parametrize(("one", "other"), [("x", "z"), ("y", "yz"), ("xy", "xz")])
def test_polarizations_that_are_mixed_up_are_refused(small, one, other):
    mixed = dict(small.fine_structure)
    mixed[one], mixed[other] = mixed[other], mixed[one]
    with pytest.raises(EngineOutputError, match=f"differs.*polarization {one}") as caught:
        small.valence(fine_structure=mixed)
    assert caught.value.reason == "output_stale"


def test_files_of_two_cluster_sizes_are_refused(both):
    with pytest.raises(EngineOutputError, match="of different runs") as caught:
        both[0].valence(fine_structure=both[1].fine_structure)
    assert caught.value.reason == "output_stale"


def test_a_part_in_a_hundred_thousand_is_too_much(small):
    spectra = {name: 1.00001 * one.mu for name, one in small.xmu.items()}
    with pytest.raises(EngineOutputError, match=r"by 1\.0e-05 of the largest value"):
        small.valence(spectra=spectra)


def test_the_amplitude_reduction_is_that_of_feff10(small):
    with pytest.raises(EngineOutputError, match="differs from its spectrum"):
        small.valence(amplitude=0.9)
    emission = small.valence(amplitude=0.9, spectra=small.own(0.9))
    full = small.valence()
    weak = 0.9 * full.tensor[:, :3] + 0.1 * full.background[:, None]
    np.testing.assert_allclose(emission.tensor[:, :3], weak, atol=1e-9 * full.tensor.max())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda s: replace(s, energy_ev=s.energy_ev[:-1]), "output_truncated"),
        (lambda s: replace(s, energy_ev=np.append(s.energy_ev, 0.0)), "output_stale"),
        (lambda s: replace(s, n_horizontal=s.n_horizontal - 1), "output_stale"),
    ],
)
def test_files_with_different_meshes_are_refused(small, change, reason):
    with pytest.raises(EngineOutputError) as caught:
        small.valence(section=change(small.section))
    assert caught.value.reason == reason


@pytest.mark.feff10
@pytest.mark.engine
def test_scandium_nitride_emits_the_same_with_both_engines(tmp_path):
    """Scandium's 3p lies 33.5 eV below the Fermi level; its line would lie over the valence."""
    crystal = Structure.from_spacegroup(
        "Fm-3m", Lattice.cubic(4.50), ["Sc", "N"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    )
    settings = XesSettings(
        n_scf_atoms=6, fms_atoms=(6,), listed_radius_angstrom=5.0, energy_step_ev=0.25
    )
    site = site_input(site_cluster(crystal, 0, settings), settings)
    site = replace(site, scf=replace(site.scf, cut_clusters=True))  # as FEFF10 does
    (found,) = create_engine("feff10", load_settings()).run_site(site, run_dir=tmp_path / "run")
    (wanted,) = create_engine("feff8l", load_settings()).run_site(site)

    assert found.e_fermi_ev == pytest.approx(wanted.e_fermi_ev, abs=1e-3)
    assert found.bottom.energy_ev == pytest.approx(wanted.bottom.energy_ev, abs=1e-3)
    assert found.bottom.level_3p_ev == pytest.approx(wanted.bottom.level_3p_ev, abs=1e-2)
    assert found.bottom.level_3p_ev == pytest.approx(found.e_fermi_ev - 33.48, abs=0.05)
    names = found.scf.separation.shell_names()
    assert [set(kind) for kind in names] == [
        set(kind) for kind in wanted.scf.separation.shell_names()
    ]
    largest = wanted.tensor.max()
    assert np.abs(found.tensor - wanted.tensor).max() < 3e-4 * largest
    assert np.abs(found.background - wanted.background).max() < 3e-4 * largest
    # FEFF10's own spectrum, in which all occupied states emit
    own = read_xmu(tmp_path / "run" / "try-1" / xmu_name("x"))
    line = own.mu[: -len(found.energy_ev)].max() / found.edge_cross_section_angstrom2
    assert line > 30 * largest
