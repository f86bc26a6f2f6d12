"""
Compare the engine ``feff8l`` with recorded FEFF10 runs: spectra, SAMS and CPU seconds.

    python benchmarks/against_feff10.py [NAME ...] [--write docs/validation-table.md]

Each recorded ``feff.inp`` goes through the reader that ``vtc feff`` uses and through the engine;
six polarizations of the resulting tensor are held against FEFF10's ``mu``. The rival's time is the
recorded one of all its modules for the first polarization (user seconds, one core).
"""

from __future__ import annotations

import argparse
import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vtc_flows.feff.feff10 import DIRECTIONS
from vtc_flows.feff.feffinp import parse_feff_input
from vtc_flows.feff.registry import create_engine
from vtc_flows.physics.sams import gram, sams
from vtc_flows.physics.tensors import along, from_polarizations
from vtc_flows.settings import load_settings

RECORDED = Path(__file__).parents[1] / "tests" / "data" / "feff10"


@dataclass(frozen=True)
class Comparison:
    """One crystal: deviations from FEFF10 and the time of both."""

    name: str
    fermi_ev: tuple[float, float]
    largest: dict[str, float]
    relative_l2: dict[str, float]
    sams: tuple[float, float]
    timings_s: dict[str, float]
    feff10_s: float


def recorded_case(name: str) -> dict[str, Any]:
    """Return a recorded FEFF10 run."""
    with gzip.open(RECORDED / f"{name}.json.gz", "rt") as stream:
        return dict(json.load(stream))


def names() -> list[str]:
    """Return the recorded cases."""
    return sorted(path.name.removesuffix(".json.gz") for path in RECORDED.glob("*.json.gz"))


def compare(name: str) -> Comparison:
    """Run a recorded input through the engine and compare."""
    case = recorded_case(name)
    engine = create_engine("feff8l", load_settings())
    (spectrum,) = engine.run_site(parse_feff_input(case["feff_inp"], name).site)
    recorded = {key: np.array(case["spectra"][key]["mu"]) for key in DIRECTIONS}
    largest, relative = {}, {}
    for key, direction in DIRECTIONS.items():
        difference = along(spectrum.tensor, direction) - recorded[key]
        largest[key] = float(np.abs(difference).max() / recorded[key].max())
        relative[key] = float(np.linalg.norm(difference) / np.linalg.norm(recorded[key]))
    energy = np.array(case["e_eV"]) - case["e_fermi_eV"]
    window = (float(energy[0]), float(energy[-1]))
    own_energy = spectrum.energy_ev - spectrum.e_fermi_ev
    own_window = (float(own_energy[0]), float(own_energy[-1]))
    return Comparison(
        name=name,
        fermi_ev=(spectrum.e_fermi_ev, case["e_fermi_eV"]),
        largest=largest,
        relative_l2=relative,
        sams=(
            sams(gram(own_energy, spectrum.tensor, own_window), np.eye(3)),
            sams(gram(energy, from_polarizations(recorded), window), np.eye(3)),
        ),
        timings_s=spectrum.timings_s,
        feff10_s=sum(
            module["user_s"]
            for key, module in case["timings"].items()
            if key.startswith(("scf.", "x."))
        ),
    )


def table(comparisons: list[Comparison]) -> str:
    """Return the comparisons as Markdown."""
    head = ["crystal", "E_F, eV (FEFF10)", *DIRECTIONS, "worst L2", "SAMS (FEFF10)", "off by"]
    head += ["CPU s: SCF", "phases", "FMS", "whole site", "FEFF10", "ratio"]
    rows = [head, ["---"] * len(head)]
    for c in comparisons:
        t = c.timings_s
        rows.append(
            [
                c.name.replace("_", " "),
                f"{c.fermi_ev[0]:.3f} ({c.fermi_ev[1]:.3f})",
                *(f"{c.largest[key]:.1e}" for key in DIRECTIONS),
                f"{max(c.relative_l2.values()):.1e}",
                f"{c.sams[0]:.4f} ({c.sams[1]:.4f})",
                f"{abs(c.sams[0] / c.sams[1] - 1):.2%}",
                *(f"{t[key]:.1f}" for key in ("scf", "phases", "fms", "total")),
                f"{c.feff10_s:.0f}",
                f"{c.feff10_s / t['total']:.1f}",
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def main() -> None:
    """Compare what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", default=names(), metavar="NAME")
    parser.add_argument("--write", type=Path, help="put the table into this file, too")
    arguments = parser.parse_args()
    done = []
    for name in arguments.names:
        done.append(compare(name))
        print(table(done[-1:]), flush=True)
    if arguments.write:
        arguments.write.write_text(table(done))


if __name__ == "__main__":
    main()
