"""
Where a site's CPU time goes: FEFF's Fortran, its interpolation, our arrays, the interpreter.

    python benchmarks/site_profile.py [NAME] [--frequency 999]

Runs one crystal of ``benchmarks/data/ten_crystals.jsonl`` (the first, or the one that is named)
under Linux's ``perf`` (package linux-perf or linux-tools), with its worker, and prints the share of
each part, and the CPU time for each potential and energy of the self-consistency.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

from cost import measure, ten_cases

HERE = Path(__file__).parent
#: Symbols of FEFF's library that look numbers up in tables and interpolate.
INTERPOLATION = {"polint_", "polinc_", "locat_", "terp_", "terpc_"}
#: Energies of an iteration along most arcs.
ENERGIES = 14


def part_of(library: str, symbol: str) -> str:
    """Return which part of the program a symbol belongs to."""
    if "feff8l" in library:
        return "FEFF: interpolation" if symbol in INTERPOLATION else "FEFF: all else"
    for fragment, part in (
        ("openblas", "BLAS, LAPACK"),
        ("_multiarray_umath", "numpy"),
        ("sparsetools", "scipy, sparse products"),
        ("_ufuncs", "scipy, Bessel functions"),
        ("libm", "elementary functions (of FEFF and numpy)"),
        ("python", "interpreter"),
        ("kernel", "kernel"),
    ):
        if fragment in library:
            return part
    return "all else"


def shares(recorded: Path) -> dict[str, float]:
    """Return the percentage of each part."""
    report = subprocess.run(
        ["perf", "report", "-i", str(recorded), "--sort", "dso,symbol", "--stdio", "-t", "|"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    found: dict[str, float] = defaultdict(float)
    for line in report.splitlines():
        fields = [field.strip() for field in line.split("|")]
        if line.startswith("#") or len(fields) < 3 or not fields[0].endswith("%"):
            continue
        symbol = fields[2].removeprefix("[.]").removeprefix("[k]").strip()
        found[part_of(fields[1], symbol)] += float(fields[0].rstrip("%"))
    return dict(found)


def run_named(name: str) -> None:
    """Run a crystal here, and print what it cost."""
    case = next(case for case in ten_cases() if case[1].startswith(name))
    row = measure(case)
    row.pop("tensor", None)
    print(json.dumps(row))


def main() -> None:
    """Profile the crystal that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("name", nargs="?", default="mp-5000")
    parser.add_argument("--frequency", type=int, default=999)
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.here:
        run_named(arguments.name)
        return
    if shutil.which("perf") is None:
        sys.exit("perf is not installed: apt-get install linux-perf (Debian), linux-tools (Ubuntu)")
    with tempfile.TemporaryDirectory(prefix="vtc-profile-") as folder:
        recorded = Path(folder) / "perf.data"
        done = subprocess.run(
            ["perf", "record", "-q", "-o", str(recorded), "-F", str(arguments.frequency), "--",
             sys.executable, str(HERE / "site_profile.py"), arguments.name, "--here"],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        row = json.loads(done.stdout.splitlines()[-1])
        print(f"{row['name']}: {row['total_s']:.1f} CPU s, {row['iterations']} iterations")
        for part, share in sorted(shares(recorded).items(), key=lambda item: -item[1]):
            print(f"{share:6.1f} %  {part}")
    points = row["iterations"] * row["potentials"] * ENERGIES
    print(f"{1e3 * row['scf_s'] / points:.2f} ms for each potential and energy of the arc")


if __name__ == "__main__":
    main()
