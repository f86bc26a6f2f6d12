"""
What the machinery of a campaign costs for each job, against a site of 15 s.

    python benchmarks/overhead.py [--workflows 100 5000] [--launches 40]

A MongoDB server of its own, as many workflows of one small crystal as asked for, and one worker of
FireWorks with an engine that answers at once: its CPU seconds per job, its start taken off, are
what jobflow, FireWorks and the database cost. Half of the jobs are sites, half make records.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
CRYSTAL = ROOT / "tests" / "data" / "structures" / "NiO.cif"
ENGINE = "analytic_engine:make"
SITE_S = 15.0


def crystals(count: int, file: Path) -> Path:
    """Write one crystal under many names, as JSON lines."""
    from pymatgen.core.structure import Structure

    structure = Structure.from_file(CRYSTAL).as_dict()
    with file.open("w") as lines:
        for number in range(count):
            lines.write(json.dumps({"id": f"copy-{number:05d}", "structure": structure}) + "\n")
    return file


def measure(count: int, launches: int, folder: Path) -> list[str]:
    """Return the table's row for a launchpad of so many workflows."""
    environment = {
        **os.environ,
        "VTC_DATA_DIRECTORY": str(folder / "data"),
        "PYTHONPATH": str(ROOT / "tests" / "support"),
        "OMP_NUM_THREADS": "1",
    }

    def run(*arguments: str) -> tuple[float, float]:
        before, start = _children_cpu_s(), time.monotonic()
        vtc = str(Path(sys.executable).parent / "vtc")
        subprocess.run(
            [vtc, *arguments], env=environment, cwd=folder, check=True, capture_output=True
        )
        return time.monotonic() - start, _children_cpu_s() - before

    run("db", "start")
    try:
        file = crystals(count, folder / "crystals.jsonl")
        _, submission_s = run("submit", str(file), "--engine", ENGINE)
        few = run("rlaunch", "rapidfire", "--nlaunches", "2")
        many = run("rlaunch", "rapidfire", "--nlaunches", str(launches + 2))
    finally:
        run("db", "stop")
    wall_s, cpu_s = ((after - before) / launches for before, after in zip(few, many, strict=True))
    return [
        str(count),
        f"{1000 * submission_s / count:.0f}",
        f"{wall_s:.2f}",
        f"{cpu_s:.2f}",
        f"{2 * wall_s / SITE_S:.1%}",
    ]


def _children_cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--workflows", type=int, nargs="+", default=[100, 5000])
    parser.add_argument("--launches", type=int, default=40)
    arguments = parser.parse_args()
    head = ["workflows", "submission, CPU ms each", "wall s per job", "CPU s per job"]
    head += ["wall of a site and its record / 15 s"]
    print("| " + " | ".join(head) + " |\n|" + " --- |" * len(head))
    for count in arguments.workflows:
        with tempfile.TemporaryDirectory(prefix="vtc-overhead-") as folder:
            row = measure(count, arguments.launches, Path(folder))
        print("| " + " | ".join(row) + " |", flush=True)


if __name__ == "__main__":
    main()
