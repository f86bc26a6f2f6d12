"""
What six polarizations cost with the engine ``feff10``, against FEFF10 run once for each of them.

    python benchmarks/polarizations.py [NAME ...] [--full x,y,...] [--write FILE]

Each recorded ``feff.inp`` goes through the engine, which makes potentials and Green's function
once. Then, in the same run, all of FEFF10's programs run in a fresh folder for each polarization
asked for (``--full``), and their ``xmu.dat`` is compared byte by byte with the engine's.

"ratio" is the engine's CPU time over the mean of the full runs. Two runs of the same programs
differ by some 10 %, so "ratio within" takes the full run from the engine's own programs: all of
them, but one polarization.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from against_feff10 import names, recorded_case
from vtc_flows.feff.feff10 import (
    DIRECTIONS,
    POLARIZATION_PROGRAMS,
    Feff10Engine,
    xmu_name,
)
from vtc_flows.feff.feff10_programs import PROGRAMS, ProgramRunner, find_feff10
from vtc_flows.feff.feffinp import parse_feff_input
from vtc_flows.physics.tensors import along
from vtc_flows.settings import load_settings

_TIMEOUT_S = 7200.0


@dataclass(frozen=True)
class Cost:
    """One crystal: CPU seconds, equality of files, deviation from the recorded spectra."""

    name: str
    engine_s: float
    one_s: float
    full_s: tuple[float, ...]
    identical: tuple[bool, ...]
    fermi_ev: tuple[float, float]
    largest: float

    @property
    def ratio_within(self) -> float:
        """Six polarizations with the engine over its own programs for one."""
        return self.engine_s / self.one_s

    @property
    def ratio(self) -> float:
        """Six polarizations with the engine over one full run."""
        return self.engine_s / float(np.mean(self.full_s))


def measure(name: str, full: list[str], folder: Path) -> Cost:
    """Run a recorded input with the engine, and the polarizations asked for in full."""
    case = recorded_case(name)
    installation = find_feff10(load_settings())
    engine = Feff10Engine(installation, timeout_s=_TIMEOUT_S)
    (spectrum,) = engine.run_site(parse_feff_input(case["feff_inp"], name).site, run_dir=folder)
    recorded = {key: np.array(case["spectra"][key]["mu"]) for key in DIRECTIONS}
    deviations = [
        np.abs(along(spectrum.tensor, direction) - recorded[key]).max() / recorded[key].max()
        for key, direction in DIRECTIONS.items()
    ]
    ours = folder / f"try-{len(spectrum.scf.attempts) + 1}"
    seconds, identical = [], []
    for key in full:
        own = folder / f"full-{key}"
        own.mkdir()
        seconds.append(full_run(spectrum.input_text, DIRECTIONS[key], own))
        files = ((own / "xmu.dat").read_bytes(), (ours / xmu_name(key)).read_bytes())
        identical.append(files[0] == files[1])
    return Cost(
        name=name,
        engine_s=spectrum.timings_s["total"],
        one_s=one_polarization_s(spectrum.timings_s),
        full_s=tuple(seconds),
        identical=tuple(identical),
        fermi_ev=(spectrum.e_fermi_ev, case["e_fermi_eV"]),
        largest=float(max(deviations)),
    )


def one_polarization_s(timings_s: dict[str, float]) -> float:
    """Return what a full run of one polarization had cost by the CPU seconds of the programs."""
    repeated = sum(timings_s[f"program {name}"] for name in POLARIZATION_PROGRAMS)
    return timings_s["total"] - repeated * (1 - 1 / len(DIRECTIONS))


def full_run(input_text: str, direction: tuple[float, float, float], folder: Path) -> float:
    """Run all programs for one polarization; return their CPU seconds."""
    installation = find_feff10(load_settings())
    card = "POLARIZATION " + " ".join(f"{value:.10f}" for value in direction)
    lines = [card if line.startswith("POLARIZATION") else line for line in input_text.splitlines()]
    (folder / "feff.inp").write_text("\n".join(lines) + "\n")
    runner = ProgramRunner(installation, folder, timeout_s=_TIMEOUT_S)
    for program in PROGRAMS:
        runner.run(program)
    return sum(runner.cpu_s.values())


def table(costs: list[Cost]) -> str:
    """Return the costs as Markdown."""
    head = ["crystal", "E_F, eV (recorded)", "largest deviation from recorded"]
    head += ["engine, six polarizations, CPU s", "one full run, CPU s", "ratio", "ratio within"]
    head += ["bit-identical"]
    rows = [head, ["---"] * len(head)]
    rows += [
        [
            cost.name.replace("_", " "),
            f"{cost.fermi_ev[0]:.3f} ({cost.fermi_ev[1]:.3f})",
            f"{cost.largest:.1e}",
            f"{cost.engine_s:.1f}",
            " ".join(f"{seconds:.1f}" for seconds in cost.full_s),
            f"{cost.ratio:.3f}",
            f"{cost.ratio_within:.3f}",
            f"{sum(cost.identical)} of {len(cost.identical)}",
        ]
        for cost in costs
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows) + "\n"


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", default=names(), metavar="NAME")
    parser.add_argument("--full", default="x,yz", help="polarizations to run in full")
    parser.add_argument("--write", type=Path, help="put the table into this file, too")
    arguments = parser.parse_args()
    done = []
    for name in arguments.names:
        with tempfile.TemporaryDirectory(prefix="vtc-polarizations-") as folder:
            done.append(measure(name, arguments.full.split(","), Path(folder)))
        print(table(done[-1:]), flush=True)
    if arguments.write:
        arguments.write.write_text(table(done))


if __name__ == "__main__":
    main()
