from __future__ import annotations

import numpy as np
import pytest

from vtc_flows.errors import FeffInputError
from vtc_flows.feff.feffinp import parse_feff_input, read_feff_input
from vtc_flows.feff.site_input import SiteInput

INPUT = """
TITLE nickel oxide
* a comment
EDGE K
S02 1.0
CONTROL 1 1 1 1 1 1
PRINT 0 0 0 0 0 0
EXCHANGE 0 0.0 0.0 0
COREHOLE FSR
XES -42.3 -7.3 0.1
FMS 4.0827 0
SCF 4.0827 0 100 0.2 1
RPATH 0.1
POLARIZATION 1.0 1.0 0.0
POTENTIALS
 0 28 Ni -1 -1 0.01
 1 8 O  -1 -1 153
 2 28 Ni -1 2 76   ! a remark
ATOMS
 1.0 1.0 1.0 0 Ni 0.0
 1.0 1.0 3.1 1 O 2.1
 1.0 3.05 1.0 1 O 2.05
 3.1 3.1 1.0 2 Ni 2.97
END
 this is not read
"""


def test_every_card_arrives():
    asked = parse_feff_input(INPUT)
    site = asked.site
    assert asked.title == "nickel oxide"
    np.testing.assert_allclose(asked.polarization, [0.5**0.5, 0.5**0.5, 0])
    # absorber at the origin, nearest first
    np.testing.assert_allclose(
        site.positions, [[0, 0, 0], [0, 2.05, 0], [0, 0, 2.1], [2.1, 2.1, 0]]
    )
    assert site.potential_index == (0, 1, 1, 2)
    assert [p.atomic_number for p in site.potentials] == [28, 8, 28]
    assert [p.stoichiometry for p in site.potentials] == [0.01, 153, 76]
    assert [p.lmax_fms for p in site.potentials] == [3, 3, 2]
    assert site.scf.radius_angstrom == 4.0827
    assert site.scf.max_iterations == 100
    assert site.fms_radii_angstrom == (4.0827,)
    assert site.grid.origin == "absolute"
    assert site.core_hole
    site.check()


def test_light_elements_get_one_angular_momentum_less():
    site = parse_feff_input(INPUT.replace("1 8 O ", "1 1 H ")).site
    assert (site.potentials[1].lmax_scf, site.potentials[1].lmax_fms) == (1, 2)


def test_omitted_stoichiometry_counts_the_atoms():
    text = INPUT.replace("-1 -1 0.01", "").replace("-1 -1 153", "").replace("-1 2 76", "")
    assert [p.stoichiometry for p in parse_feff_input(text).site.potentials] == [1, 2, 1]


@pytest.mark.parametrize("card", ["NOHOLE", "COREHOLE none"])
def test_no_core_hole(card):
    assert not parse_feff_input(INPUT.replace("COREHOLE FSR", card)).site.core_hole


def test_without_scf_card_nothing_is_iterated():
    text = INPUT.replace("SCF 4.0827 0 100 0.2 1\n", "")
    assert parse_feff_input(text).site.scf.max_iterations == 0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("RPATH 0.1", "RPATH 6.0", "RPATH 6"),
        ("RPATH 0.1", "DEBYE 300 400", "DEBYE"),
        ("RPATH 0.1", "ELLIPTICITY 0.5 0 0 1", "ELLIPTICITY"),
        ("EDGE K", "EDGE L3", "only the K edge"),
        ("COREHOLE FSR", "COREHOLE regular", "REGULAR"),
        ("XES -42.3 -7.3 0.1", "XES 8.0 0.05 0.0", "absolute energies"),
        ("XES -42.3 -7.3 0.1", "XES -42.3", "wants 3 numbers"),
        ("XES -42.3 -7.3 0.1", "", "XES emin emax estep is missing"),
        ("FMS 4.0827 0", "", "FMS radius is missing"),
        ("SCF 4.0827 0 100 0.2 1", "SCF 4.0 1", "lfms1"),
        ("SCF 4.0827 0 100 0.2 1", "SCF four", "wants numbers"),
        ("1.0 1.0 3.1 1 O 2.1", "1.0 1.0 3.1 0 O 2.1", "2 atoms have potential 0"),
        (" 1 8 O  -1 -1 153\n", "", "do not count 0, 1, 2"),
        ("POLARIZATION 1.0 1.0 0.0", "POLARIZATION 0 0 0", "no direction"),
    ],
)
def test_what_cannot_be_honoured_is_refused_by_name(old, new, message):
    assert old in INPUT
    with pytest.raises(FeffInputError, match=message):
        parse_feff_input(INPUT.replace(old, new))


@pytest.mark.parametrize(
    ("old", "card"),
    [
        ("RPATH 0.1", "AFOLP 1.3"),
        ("RPATH 0.1", "CORVAL -50"),
        ("COREHOLE FSR", "COREHOLE RPA"),
        ("EXCHANGE 0 0.0 0.0 0", "EXCHANGE 0 0.0 0.5 0"),
    ],
)
def test_cards_of_feff10_alone_are_handed_on(old, card):
    site = parse_feff_input(INPUT.replace(old, card)).site
    assert site.extra_cards == (card,)
    assert SiteInput.from_json(site.to_json()) == site


def test_absolute_is_noted():
    assert not parse_feff_input(INPUT).absolute
    assert parse_feff_input(INPUT.replace("RPATH 0.1", "ABSOLUTE")).absolute


def test_the_message_says_where():
    with pytest.raises(FeffInputError, match=r"mine\.inp, line 4: EDGE L3"):
        parse_feff_input(INPUT.replace("EDGE K", "EDGE L3"), name="mine.inp")


@pytest.mark.parametrize("text", ["", "  \n", '{"lattice": 1}', "<cif>", "MZ\0\0"])
def test_other_files_are_not_taken_for_input(text):
    with pytest.raises(FeffInputError, match=r"not a feff\.inp"):
        parse_feff_input(text)


def test_missing_file(tmp_path):
    with pytest.raises(FeffInputError, match="No such file"):
        read_feff_input(tmp_path / "none.inp")
