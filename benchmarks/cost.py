"""
What a site costs, stage by stage, and what a change of the engine does to costs and results.

    python benchmarks/cost.py measure OUT.jsonl [--structures FILE --order FILE --ranks 1-30]
        [--only NAME]
    python benchmarks/cost.py compare BEFORE.jsonl AFTER.jsonl [--write FILE]

``measure`` runs, one process at a time, the recorded FEFF10 inputs as they are and along the arc
(marked so; what the rival is compared with), the first orbit of
the ten crystals of ``benchmarks/data``, and, where a file of structures and an order of them (CSV
with rank, material_id and element) are given, those of the ranks asked for: 30 neighbors in the
SCF, 30 and 80 in the multiple scattering. It resumes where it stopped.

``compare`` prints CPU seconds before and after, the change of SAMS, and how many CPU seconds
FEFF10 took for one polarization of the recorded inputs (the rival).
"""

from __future__ import annotations

import argparse
import csv
import gzip
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from against_feff10 import names, recorded_case
from vtc_flows.crystal.clusters import absorber_cluster
from vtc_flows.crystal.sites import absorbers, site_orbits
from vtc_flows.errors import VtcFlowsError
from vtc_flows.feff.cluster_input import site_input
from vtc_flows.feff.feffinp import parse_feff_input
from vtc_flows.feff.registry import create_engine
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.physics.sams import gram, sams
from vtc_flows.schemas import XesSettings
from vtc_flows.settings import load_settings

TEN = Path(__file__).parent / "data" / "ten_crystals.jsonl"
SETTINGS = XesSettings(fms_atoms=(30, 80))
WINDOW_EV = (-20.0, 0.0)

#: Marks a recorded input that is run with the package's own steering.
_OWN = " (arc)"

Case = tuple[str, str, SiteInput]


def recorded_cases() -> Iterator[Case]:
    """Yield the recorded FEFF10 inputs as they are, and as the package does its own crystals."""
    for name in names():
        site = parse_feff_input(recorded_case(name)["feff_inp"], name).site
        yield "FEFF10", name, site
        if hasattr(site.scf, "contour"):
            own = replace(
                site.scf,
                contour="arc",
                on_bad_counts="slow_down",
                mixing=SETTINGS.scf_mixing,
                n_plain_mixing=SETTINGS.scf_plain_iterations,
            )
            yield "FEFF10", f"{name}{_OWN}", replace(site, scf=own)


def crystal_case(group: str, name: str, structure: Any, element: str | None) -> Case:
    """Return the first orbit of one element of a crystal."""
    from pymatgen.core import Structure

    crystal = Structure.from_dict(structure)
    symbol = element or absorbers(crystal)[0]
    orbit = site_orbits(crystal, symbol)[0]
    cluster = absorber_cluster(
        crystal,
        orbit.representative,
        SETTINGS.listed_radius_angstrom,
        n_neighbors=SETTINGS.n_neighbors,
    )
    return group, f"{name} {symbol}", site_input(cluster, SETTINGS)


def ten_cases() -> Iterator[Case]:
    """Yield the ten crystals of the package's benchmarks."""
    for line in TEN.read_text().splitlines():
        entry = json.loads(line)
        yield crystal_case("ten", entry["id"], entry["structure"], None)


def ranked_cases(structures: Path, order: Path, ranks: str) -> Iterator[Case]:
    """Yield crystals by their rank in an order, ``first-last``."""
    first, last = (int(part) for part in ranks.split("-"))
    with gzip.open(order, "rt") as stream:
        rows = [row for row in csv.DictReader(stream) if first <= int(row["rank"]) <= last]
    wanted = {row["material_id"] for row in rows}
    found = {}
    with gzip.open(structures, "rt") as stream:
        for line in stream:
            entry = json.loads(line)
            if entry["id"] in wanted:
                found[entry["id"]] = entry["structure"]
    for row in rows:
        yield crystal_case("ranked", row["material_id"], found[row["material_id"]], row["element"])


def measure(case: Case) -> dict[str, Any]:
    """Run one site; return its costs and results."""
    group, name, site = case
    engine = create_engine("feff8l", load_settings())
    row: dict[str, Any] = {"group": group, "name": name}
    try:
        spectra = engine.run_site(site)
    except VtcFlowsError as error:
        return row | {"error": type(error).__name__, "reason": getattr(error, "reason", None)}
    first = spectra[0]
    return row | {
        "scf_s": first.timings_s["scf"],
        "phases_s": first.timings_s["phases"],
        "fms_s": [spectrum.timings_s["fms"] for spectrum in spectra],
        "total_s": first.timings_s["total"],
        "iterations": first.scf.n_iterations,
        "recovery": first.scf.recovery,
        "attempts": [attempt.reason for attempt in first.scf.attempts],
        "restarts": first.scf.restarts,
        "e_fermi_ev": first.e_fermi_ev,
        "bottom_ev": None if first.bottom is None else first.bottom.energy_ev,
        "potentials": len(site.potentials),
        "fms_atoms": [spectrum.fms_atoms for spectrum in spectra],
        "memory_mib": first.memory_mib,
        "sams": [
            sams(gram(s.energy_ev - s.e_fermi_ev, s.tensor, WINDOW_EV), np.eye(3)) for s in spectra
        ],
        "tensor": [np.round(s.tensor, 7).tolist() for s in spectra],
    }


def measure_all(cases: Iterator[Case], out: Path, only: str = "") -> None:
    """Append one line for each case that is not there yet and whose name begins so."""
    done = {row["name"] for row in read(out)} if out.exists() else set()
    for case in cases:
        if case[1] in done or not case[1].startswith(only):
            continue
        row = measure(case)
        with out.open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        print(case[1], row.get("error") or f"{row['total_s']:.1f} s", file=sys.stderr, flush=True)


def read(path: Path) -> list[dict[str, Any]]:
    """Return the lines of a file of ``measure``."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def stages(row: dict[str, Any]) -> list[float]:
    """Return SCF, phases, each FMS, and what is left: start of the process and failed tries."""
    fms = [*row["fms_s"], float("nan")][:2]
    rest = row["total_s"] - row["scf_s"] - row["phases_s"] - sum(row["fms_s"])
    return [row["scf_s"], row["phases_s"], *fms, rest, row["total_s"]]


def feff10_s(name: str) -> float:
    """Return the CPU seconds of the recorded run of one polarization, all modules."""
    timings = recorded_case(name.removesuffix(_OWN))["timings"]
    return float(sum(t["user_s"] for k, t in timings.items() if k.startswith(("scf.", "x."))))


def compare(before: Path, after: Path) -> str:
    """Return the comparison as Markdown."""
    old = {row["name"]: row for row in read(before)}
    head = ["group", "site", "SCF", "phases", "FMS 30", "FMS 80", "start, retries", "whole"]
    head += ["before / after", "iterations", "E_F, meV", "SAMS, %", "FEFF10 / after"]
    lines = [head, ["---"] * len(head)]
    ratios: dict[str, list[float]] = {"cost": [], "feff10": [], "sams": []}
    totals: list[tuple[float, float]] = []
    for row in read(after):
        earlier = old.get(row["name"].removesuffix(_OWN))
        if earlier is None or "error" in row or "error" in earlier:
            told = [str((each or {}).get("error", "ok")) for each in (earlier, row)]
            lines.append([row["group"], row["name"], " → ".join(told), *[""] * (len(head) - 3)])
            continue
        pairs = list(zip(stages(earlier), stages(row), strict=True))
        if row["group"] != "FEFF10":
            totals.append(pairs[-1])
        change = [
            100 * abs(b / a - 1)
            for a, b in zip(earlier["sams"], row["sams"], strict=True)
            if a > 1e-3
        ]
        ratios["cost"].append(pairs[-1][0] / pairs[-1][1])
        if row["group"] != "FEFF10":
            ratios["sams"] += change
        rival = feff10_s(row["name"]) / row["total_s"] if row["group"] == "FEFF10" else None
        if rival and row["name"].endswith(_OWN):
            ratios["feff10"].append(rival)
        lines.append([
            row["group"], row["name"].replace("_", " "),
            *("" if np.isnan(a) else f"{a:.1f} → {b:.1f}" for a, b in pairs),
            f"{ratios['cost'][-1]:.1f}",
            f"{earlier['iterations']} → {row['iterations']}",
            f"{1e3 * (row['e_fermi_ev'] - earlier['e_fermi_ev']):+.1f}",
            f"{max(change):.2f}" if change else "0 by symmetry",
            f"{rival:.0f}" if rival else "",
        ])  # fmt: skip
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n\n"
    for label, values in (
        ("CPU s of a crystal's site, before", [a for a, _ in totals]),
        ("CPU s of a crystal's site, after", [b for _, b in totals]),
        ("before / after", ratios["cost"]),
        ("FEFF10 / after", ratios["feff10"]),
        ("change of SAMS, %", ratios["sams"]),
    ):
        if values:
            text += (
                f"{label}: median {np.median(values):.3g}, smallest {min(values):.3g}, "
                f"largest {max(values):.3g} ({len(values)})\n"
            )
    return text


def main() -> None:
    """Measure or compare."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("measure")
    one.add_argument("out", type=Path)
    one.add_argument("--structures", type=Path)
    one.add_argument("--order", type=Path)
    one.add_argument("--ranks", default="1-30")
    one.add_argument("--only", default="", metavar="NAME")
    two = commands.add_parser("compare")
    two.add_argument("before", type=Path)
    two.add_argument("after", type=Path)
    two.add_argument("--write", type=Path)
    arguments = parser.parse_args()
    if arguments.command == "compare":
        text = compare(arguments.before, arguments.after)
        print(text)
        if arguments.write:
            arguments.write.write_text(text)
        return
    measure_all(recorded_cases(), arguments.out, arguments.only)
    measure_all(ten_cases(), arguments.out, arguments.only)
    if arguments.structures and arguments.order:
        cases = ranked_cases(arguments.structures, arguments.order, arguments.ranks)
        measure_all(cases, arguments.out, arguments.only)


if __name__ == "__main__":
    main()
