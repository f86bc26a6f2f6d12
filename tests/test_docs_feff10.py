"""The page on FEFF10 says what the code does."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from vtc_flows.feff.feff10_input import Feff10InputGenerator
from vtc_flows.feff.feffinp import parse_feff_input

PAGE = (Path(__file__).parents[1] / "docs/feff10.md").read_text(encoding="utf-8")
INPUT = """
SCF 2.5 0 60 0.1 4
XES -20 -5 0.1
FMS 2.5
POTENTIALS
 0 28 Ni
 1 8 O
ATOMS
 0 0 0 0
 0 0 2.1 1
"""


def test_every_card_stands_in_the_table_with_reason_and_source():
    site = parse_feff_input(INPUT).site
    recovering = replace(site.scf, ramp_from_angstrom=1.5, core_valence_floor_ev=-100.0)
    cards = (
        Feff10InputGenerator()
        .get_input_set(
            replace(site, overlap=1.05, scf=recovering), 2.5, polarization=(0.0, 0.0, 1.0)
        )
        .cards
    )
    table = PAGE.partition("| card |")[2].partition("\n\n")[0].splitlines()[2:]
    assert table == [f"| {c.name} | {c.values} | {c.why} | {c.source} |" for c in cards]
