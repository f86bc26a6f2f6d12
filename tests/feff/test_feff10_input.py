"""The feff.inp for FEFF10: its text, what others read in it, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace

import fake_feff10
import numpy as np
import pytest
from fake_feff10 import recorded_calls
from pymatgen.io.feff.inputs import Atoms, Potential, Tags
from record_feff10 import FOLDER, SETTINGS, site_of

from vtc_flows.errors import InputError
from vtc_flows.feff.feff10 import DIRECTIONS
from vtc_flows.feff.feff10_input import (
    FEFF_INP,
    Card,
    Feff10InputGenerator,
    absolute_grid,
)
from vtc_flows.feff.feffinp import parse_feff_input
from vtc_flows.feff.recovery import FEFF10_LADDER
from vtc_flows.feff.site_input import EnergyGrid, PotentialSpec, ScfControl, SiteInput
from vtc_flows.feff.valence_bottom import wider_grid

NI_O = 2.085  # Angstrom
SITE = SiteInput(
    positions_angstrom=(
        (0.0, 0.0, 0.0),
        (NI_O, 0.0, 0.0),
        (-NI_O, 0.0, 0.0),
        (0.0, NI_O, 0.0),
        (0.0, 0.0, -1.05 * NI_O),
        (NI_O, NI_O, 0.0),
    ),
    potential_index=(0, 1, 1, 1, 1, 2),
    potentials=(
        PotentialSpec.with_default_lmax(28, "Ni", 0.01),
        PotentialSpec.with_default_lmax(8, "O", 1.0),
        PotentialSpec.with_default_lmax(28, "Ni", 1.0),
    ),
    scf=ScfControl(2.3),
    fms_radii_angstrom=(2.3,),
    grid=EnergyGrid(-30.0, 5.0, 0.1),
)
TEXT = """\
TITLE vtc-flows
EDGE K
S02 1
COREHOLE FSR
EXCHANGE 0 0.0 0.0 0
XES -41.94318 -6.94318 0.1
SCF 2.300000 0 100 0.2 1
FMS 2.300000 0
RPATH 0.1
ABSOLUTE
PRINT 0 0 0 0 0 0
CONTROL 1 1 1 1 1 1
POLARIZATION 0.7071067812 0.0000000000 0.7071067812
POTENTIALS
 0 28 Ni 2 3 0.01
 1 8 O 2 3 1
 2 28 Ni 2 3 1
ATOMS
 0.00000000 0.00000000 0.00000000 0
 2.08500000 0.00000000 0.00000000 1
 -2.08500000 0.00000000 0.00000000 1
 0.00000000 2.08500000 0.00000000 1
 0.00000000 0.00000000 -2.18925000 1
 2.08500000 2.08500000 0.00000000 2
END
"""


def inputs_of(site: SiteInput = SITE, **changes):
    given = {"polarization": DIRECTIONS["xz"], "fermi_ev": -11.9431829, **changes}
    return Feff10InputGenerator().get_input_set(site, 2.3, **given)


@pytest.fixture
def written(tmp_path):
    inputs_of().write_input(tmp_path)
    return tmp_path / FEFF_INP


def test_the_text_of_one_site(written):
    assert written.read_text() == TEXT


def test_every_card_has_a_reason_and_a_source():
    site = replace(
        SITE,
        overlap=1.05,
        scf=replace(SITE.scf, ramp_from_angstrom=1.5, core_valence_floor_ev=-50.0),
        extra_cards=("MPSE 2",),
    )
    for card in inputs_of(site).cards:
        assert len(card.why) > 10
        assert card.source


def test_pymatgen_reads_what_is_written(written):
    """Its parsers of cards, potentials and atoms, which are not ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of a card that pymatgen does not know
        tags = Tags.from_file(str(written))
    assert tags["EDGE"] == "K"
    assert tags["COREHOLE"].upper() == "FSR"
    assert (tags["S02"], tags["RPATH"]) == ([1], [0.1])
    assert tags["XES"] == [-41.94318, -6.94318, 0.1]
    assert tags["SCF"] == [2.3, 0, 100, 0.2, 1]
    assert tags["FMS"] == [2.3, 0]
    assert tags["EXCHANGE"] == [0, 0.0, 0.0, 0]
    assert tags["PRINT"] == [0] * 6
    assert tags["CONTROL"] == [1] * 6
    assert tags["POLARIZATION"] == pytest.approx([0.5**0.5, 0, 0.5**0.5], abs=1e-10)
    assert "ABSOLUTE" in tags

    text = Potential.pot_string_from_file(str(written))
    labels, by_number = Potential.pot_dict_from_str(text)
    assert labels == {"Ni": 2, "O": 1}  # the absorber and the other Ni share a label
    assert by_number == {0: "Ni", 1: "O", 2: "Ni"}

    rows = Atoms.atoms_string_from_file(str(written)).splitlines()[1:]
    atoms = np.array([row.split() for row in rows], dtype=float)
    np.testing.assert_allclose(atoms[:, :3], SITE.positions, atol=1e-8)
    assert tuple(atoms[:, 3].astype(int)) == SITE.potential_index


def test_writing_does_without_the_sets_of_pymatgen(tmp_path):
    """They take seconds to import and know periodic structures only."""
    code = (
        "import sys, vtc_flows.feff.feff10_input; assert 'pymatgen.io.feff.sets' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_our_own_reader_gives_the_site_back():
    again = parse_feff_input(TEXT)
    np.testing.assert_allclose(again.site.positions, SITE.positions, atol=1e-8)
    assert again.site.potential_index == SITE.potential_index
    assert again.site.potentials == SITE.potentials
    assert again.polarization == pytest.approx(DIRECTIONS["xz"])
    assert again.absolute
    assert again.site.extra_cards == ()


def test_the_energies_are_those_of_the_grid_around_the_fermi_level():
    fermi = -11.9431829
    shown = absolute_grid(SITE.grid, fermi)
    assert (shown.start_ev, shown.stop_ev) == (-41.94318, -6.94318)
    wanted = SITE.grid.energies_ev(fermi)
    np.testing.assert_allclose(shown.energies_ev(fermi), wanted, atol=5e-6)
    # the Fermi level is a point, to the decimals that FEFF10 has
    assert np.abs(shown.energies_ev(fermi) - fermi).min() == 0


@pytest.mark.parametrize("fermi", [-3.0000049, -12.000005, -7.123456789, -0.5])
def test_limits_have_as_many_decimals_as_feff10_keeps(fermi):
    words = next(c for c in inputs_of(fermi_ev=fermi).cards if c.name == "XES").values.split()
    for word, exact in zip(words, (fermi - 30, fermi + 5, 0.1), strict=True):
        assert float(word) == pytest.approx(exact, abs=5.1e-6)
        assert len(word.partition(".")[2]) <= 5


def test_a_grid_needs_a_fermi_level_to_count_from():
    with pytest.raises(InputError, match="self-consistent potentials"):
        inputs_of(fermi_ev=None)
    absolute = replace(SITE, grid=EnergyGrid(-40.0, -5.0, 0.1, "absolute"))
    assert "XES -40.00000 -5.00000 0.1\n" in inputs_of(absolute, fermi_ev=None).text


def test_energies_that_feff10_would_silently_replace_are_refused():
    with pytest.raises(InputError, match="below zero only"):
        absolute_grid(EnergyGrid(-1.0, 5.0, 0.1), 1.5)


def test_potentials_know_nothing_of_the_spectrum():
    """So their input is the same for every polarization, radius and grid."""
    generator = Feff10InputGenerator()
    texts = {
        generator.get_input_set(replace(SITE, grid=grid, fms_radii_angstrom=radii), None).text
        for grid in (SITE.grid, EnergyGrid(-12.0, 2.0, 0.5))
        for radii in ((2.3,), (5.0, 6.0))
    }
    (text,) = texts
    assert "POLARIZATION" not in text
    assert "XES -40.00000 -5.00000 0.1" in text


def test_extra_cards_go_before_ours():
    site = replace(SITE, extra_cards=("EXCH 2 0 0.5", "corehole RPA", "MPSE 2"))
    lines = inputs_of(site).text.splitlines()
    assert "EXCH 2 0 0.5" in lines
    assert "COREHOLE RPA" in lines
    assert "MPSE 2" in lines
    assert not [line for line in lines if line.startswith(("EXCHANGE", "COREHOLE FSR"))]
    assert lines.index("MPSE 2") < lines.index("POTENTIALS")


def test_without_iterations_there_is_no_scf_card():
    lines = inputs_of(replace(SITE, scf=ScfControl(0.0, max_iterations=0))).text.splitlines()
    assert not [line for line in lines if line.startswith("SCF")]


def test_without_core_hole():
    assert "COREHOLE NONE\n" in inputs_of(replace(SITE, core_hole=False)).text


def test_cards_of_the_recovery_are_those_that_the_programs_are_told_to_expect():
    """`fake_feff10` has them on its own authority."""
    site = site_of("wurtzite_ZnO", "Zn")
    first = recorded_calls(FOLDER, "converged")[0]["feff_inp"]
    cards, potentials, atoms = fake_feff10.parse(first)
    known = {
        "scf_radius": float(cards["SCF"][0]),
        "radii": [],
        "potentials": potentials,
        "atoms": atoms,
    }
    for step in FEFF10_LADDER:
        text = Feff10InputGenerator().get_input_set(step.change(site).for_potentials()).text
        rung, *_ = fake_feff10.check_input(text, known)
        assert rung == step.name


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("EDGE K", "EDGE L3", "EDGE"),
        ("ABSOLUTE\n", "", "ABSOLUTE"),
        ("RPATH 0.1", "RPATH 6", "RPATH"),
        ("PRINT", "RESTART\nPRINT", "unrecognized"),
        ("0 60 0.1 4", "0 60 0.3 4", "no step"),
        ("0 60 0.1 4", "0 60 0.1 1", "no step"),
        ("FMS 1.98", "FMS 2.98", "radii"),
        ("XES -45.96129", "XES -45.96229", "grid"),
        ("XES -45.96129", "XES -39.96129", "grid"),
        ("POLARIZATION 1.0", "POLARIZATION 0.9", "none of the six"),
        (" 1 8 O 2 3 1\n", " 1 8 O 2 3 2\n", "potential"),
        ("0.63121140 1", "0.63121150 1", "atom"),
        ("\nEND", "", "END is missing"),
    ],
)
def test_the_programs_of_the_tests_look_at_every_line(old, new, complaint):
    """A fake that accepts anything would prove nothing."""
    calls = recorded_calls(FOLDER, "converged")
    text = [c["feff_inp"] for c in calls if c["program"] == "rdinp"][1]
    known = fake_feff10._known(FOLDER)
    assert fake_feff10.check_input(text, known)[3] == "x"
    assert old in text
    with pytest.raises(fake_feff10.Refused, match=complaint):
        fake_feff10.check_input(text.replace(old, new, 1), known)


def test_the_recorded_inputs_are_what_is_written_today():
    """Or the recordings are to be made anew."""
    site = site_of("wurtzite_ZnO", "Zn")
    calls = recorded_calls(FOLDER, "converged")
    texts = [c["feff_inp"] for c in calls if c["program"] == "rdinp"]
    fermi = fake_feff10._known(FOLDER)["fermi"]
    generator, listed = Feff10InputGenerator(), site.for_potentials()
    ours = [generator.get_input_set(listed).text]
    listed = replace(listed, grid=wider_grid(site.grid, site.lower_end))
    for radius in site.fms_radii_angstrom:
        for direction in DIRECTIONS.values():
            inputs = generator.get_input_set(listed, radius, polarization=direction, fermi_ev=fermi)
            ours.append(inputs.text)
    assert texts == ours
    assert len(texts) == 1 + 6 * len(SETTINGS.fms_atoms)


def test_a_card_without_values_is_a_bare_word():
    assert str(Card("ABSOLUTE", "", "why", "where")) == "ABSOLUTE"
