"""
Record what FEFF10's programs leave, for the tests in which they do not run.

    python tests/support/record_feff10.py FOLDER_OF_FEFF10 [NAME ...]

Programs of the same names run the real ones and note what they were given, what they printed and
what they left, so that the engine drives them as it always does. The recordings go to
tests/data/feff10_files.
"""

from __future__ import annotations

import gzip
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from pymatgen.core.structure import Structure

from vtc_flows.crystal.clusters import Cluster
from vtc_flows.crystal.sources import load_structures
from vtc_flows.errors import EngineError
from vtc_flows.feff.cluster_input import site_input
from vtc_flows.feff.feff10 import DIRECTIONS, Feff10Engine
from vtc_flows.feff.feff10_input import FEFF_INP, Feff10InputGenerator
from vtc_flows.feff.feff10_programs import PROGRAMS, find_feff10
from vtc_flows.feff.recovery import FEFF10_LADDER
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.schemas import XesSettings
from vtc_flows.settings import load_settings
from vtc_flows.workflow.jobs import site_cluster

TESTS = Path(__file__).parents[1]
FOLDER = TESTS / "data" / "feff10_files"
#: So small that the potentials take seconds.
SETTINGS = XesSettings(
    n_scf_atoms=4, fms_atoms=(4, 16), listed_radius_angstrom=5.0, energy_step_ev=0.5
)

#: What is kept of each program, and the beginning that is kept of long files.
KEPT = {
    "rdinp": ("geom.dat", "global.inp"),
    "atomic": ("config.dat",),
    "pot": ("log1.dat", "convergence.scf", "convergence.scf.fine", "pot.bin"),
    "xsph": ("xsect.dat", "phase.bin"),
    "mkgtr": ("fms.bin",),
    "ff2x": ("xmu.dat",),
}
_HEAD_LINES = {"pot.bin": 12}
_ERROR_FILE = ".feff.error"

_WRAPPER = """#!{python}
import json, os, subprocess, sys
real, noted = {real!r}, {noted!r}
program = os.path.basename(sys.argv[0])
ended = subprocess.run([os.path.join(real, program)], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT)
sys.stdout.buffer.write(ended.stdout)
def text(name):
    return open(name, encoding="latin-1").read() if os.path.exists(name) else None
names = {kept!r}.get(program, [])
call = dict(program=program, exit_code=ended.returncode, log=ended.stdout.decode("latin-1"),
            error_file=text({error_file!r}),
            feff_inp=text("feff.inp") if program == "rdinp" else None,
            files={{name: text(name) for name in names if os.path.exists(name)}})
open(noted, "a").write(json.dumps(call) + "\\n")
sys.exit(ended.returncode)
"""


def structure_of(name: str) -> Structure:
    """Return a test structure."""
    (record,) = load_structures([TESTS / "data" / "structures" / f"{name}.cif"])
    return record.structure


def cluster_of(name: str, element: str) -> Cluster:
    """Return the cluster around the first atom of an element in a test structure."""
    structure = structure_of(name)
    index = next(i for i, site in enumerate(structure) if site.specie.symbol == element)
    return site_cluster(structure, index, SETTINGS)


def site_of(name: str, element: str, **scf: object) -> SiteInput:
    """Return the site with some of its settings of the self-consistency changed."""
    site = site_input(cluster_of(name, element), SETTINGS)
    return replace(site, scf=replace(site.scf, **scf))


class Recorder:
    """Real programs behind ones that take notes."""

    def __init__(self, real: Path, folder: Path) -> None:
        self.programs, self.runs = folder / "programs", folder / "runs"
        self._noted = folder / "noted"
        self.programs.mkdir()
        self.runs.mkdir()
        for name in PROGRAMS:
            path = self.programs / name
            path.write_text(
                _WRAPPER.format(
                    python=sys.executable,
                    real=str(real),
                    noted=str(self._noted),
                    kept=KEPT,
                    error_file=_ERROR_FILE,
                )
            )
            path.chmod(0o755)

    def engine(self) -> Feff10Engine:
        settings = load_settings(feff10_directory=self.programs)
        return Feff10Engine(
            find_feff10(settings), scratch_directory=self.runs, ladder=FEFF10_LADDER[:1]
        )

    def run(self, text: str, programs: tuple[str, ...]) -> None:
        """Run programs on an input, whatever comes of it."""
        with tempfile.TemporaryDirectory(dir=self.runs) as folder:
            (Path(folder) / FEFF_INP).write_text(text)
            for program in programs:
                subprocess.run(
                    [self.programs / program], cwd=folder, stdout=subprocess.DEVNULL, check=False
                )

    def calls(self) -> list[dict]:
        calls = [json.loads(line) for line in self._noted.read_text().splitlines()]
        for call in calls:
            for name, lines in _HEAD_LINES.items():
                if name in call["files"]:
                    kept = call["files"][name].splitlines(keepends=True)[:lines]
                    call["files"][name] = "".join(kept)
        return calls


def converged(recorder: Recorder) -> None:
    """Wurtzite ZnO, two cluster sizes, six polarizations, by the engine."""
    recorder.engine().run(cluster_of("wurtzite_ZnO", "Zn"), SETTINGS)


def not_converged(recorder: Recorder) -> None:
    """Let ZnO run out of iterations; all programs go on to a spectrum."""
    site = site_of("wurtzite_ZnO", "Zn", max_iterations=2)
    text = Feff10InputGenerator().get_input_set(
        site.for_potentials(),
        site.fms_radii_angstrom[0],
        polarization=DIRECTIONS["x"],
        fermi_ev=-9.857,
    )
    recorder.run(text.text, PROGRAMS)


def bad_counts(recorder: Recorder) -> None:
    """Start the search for the core-valence separation of BaTiO3 where it finds none."""
    # FEFF10 shall go on by itself until it gives up
    wrong = {"core_valence_floor_ev": -20.0, "on_bad_counts": "separation"}
    _fail(recorder, site_of("BaTiO3_P4mm", "Ti", **wrong))


def stopped(recorder: Recorder) -> None:
    """Let the densities of BaTiO3 overshoot until a sphere cannot hold its charge."""
    # impossible occupations on the way shall not stop it before
    _fail(recorder, site_of("BaTiO3_P4mm", "Ti", mixing=0.5, on_bad_counts="go_on"))


def refused(recorder: Recorder) -> None:
    """Give a card that FEFF10 does not know."""
    site = replace(site_of("wurtzite_ZnO", "Zn"), extra_cards=("PRUNT 0",))
    _fail(recorder, site)


def _fail(recorder: Recorder, site: SiteInput) -> None:
    try:
        recorder.engine().run_site(site)
    except EngineError as error:
        print(f"{error.reason}: {error.message}")
    else:
        raise SystemExit("it did not fail")


CASES = {one.__name__: one for one in (converged, not_converged, bad_counts, stopped, refused)}


def main() -> None:
    """Record the cases that the command line names, or all."""
    real, *names = sys.argv[1:]
    for name in names or CASES:
        with tempfile.TemporaryDirectory(prefix="vtc-record-") as folder:
            recorder = Recorder(Path(real), Path(folder))
            CASES[name](recorder)
            text = json.dumps(recorder.calls(), indent=0)
        path = FOLDER / f"{name}.json.gz"
        path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))
        print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
