"""
Kill a campaign's workers, restart its database: nothing may be lost, and nothing done twice.

    python benchmarks/drill.py [--crystals 200] [--workers 8] [--kills 25] [--structures FILE]

A MongoDB server of its own, crystals with an engine that answers at once, and as many FireWorks
workers as asked for. Every few seconds one of them is killed (SIGKILL) and replaced; the server is
stopped once in peace and then killed, and started again. When nothing is left to do, everything is
counted. Exit code 1: a record is missing or there twice, or work was done twice
without a worker having been lost at it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
ENGINE = "analytic_engine:make"
SMALL = ("NiO", "rutile_TiO2", "wurtzite_ZnO", "pyrite_FeS2", "LiCoO2", "triclinic_Fe2P2O7")
VTC = str(Path(sys.executable).parent / "vtc")
FIREWORKS: dict[str, Any] = {
    "PING_TIME_SECS": 2,
    "RUN_EXPIRATION_SECS": 15,  # minutes in earnest; so a drill takes minutes and not hours
    "RAPIDFIRE_SLEEP_SECS": 2,
    "WFLOCK_EXPIRATION_SECS": 10,
    "WFLOCK_EXPIRATION_KILL": True,
    "PRINT_FW_JSON": False,
    "ROCKET_STREAM_LOGLEVEL": "CRITICAL",
}


@dataclass
class Report:
    """What a drill found."""

    crystals: int = 0
    sites: int = 0
    records: int = 0
    wall_s: float = 0.0
    kills: int = 0
    restarts: int = 0
    records_present: int = 0
    records_complete: int = 0
    records_twice: int = 0
    states: dict[str, dict[str, int]] = field(default_factory=dict)
    computations: int = 0
    launches_lost: int = 0
    fireworks_twice: int = 0
    lost_work_s: float = 0.0
    lost_waiting_s: float = 0.0

    def faults(self) -> list[str]:
        """Return what must not be."""
        done = {"COMPLETED"}
        checks = {
            f"{self.records - self.records_present} records missing": (
                self.records == self.records_present == self.records_complete
            ),
            f"{self.records_twice} records twice": self.records_twice == 0,
            f"{self.fireworks_twice} jobs completed twice": self.fireworks_twice == 0,
            f"states {self.states}": all(set(each) == done for each in self.states.values()),
            f"{self.computations} computations of {self.sites} sites after {self.kills} kills": (
                self.sites <= self.computations <= self.sites + self.kills
            ),
        }
        return [fault for fault, holds in checks.items() if not holds]


class Drill:
    """A database and workers in a folder of their own."""

    def __init__(self, folder: Path, seed: int, takes_s: float = 0.0) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.computed = folder / "computed"
        self.environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("VTC_")},
            "VTC_DATA_DIRECTORY": str(folder / "data"),
            "VTC_SCRATCH_DIRECTORY": str(folder / "scratch"),
            "FW_CONFIG_FILE": str(folder / "FW_config.yaml"),
            "PYTHONPATH": str(ROOT / "tests" / "support"),
            "ANALYTIC_LOG": str(self.computed),
            "ANALYTIC_TAKES": str(takes_s),
            "OMP_NUM_THREADS": "1",
        }
        lines = [f"{key}: {json.dumps(value)}\n" for key, value in FIREWORKS.items()]
        (folder / "FW_config.yaml").write_text("".join(lines))
        self._log = (folder / "workers.log").open("w")

    def vtc(self, *arguments: str) -> str:
        """Run a command to its end and return what it prints."""
        done = subprocess.run(
            [VTC, *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"vtc {' '.join(arguments)}: {done.stderr or done.stdout}")
        return done.stdout

    def worker(self) -> subprocess.Popen[bytes]:
        """Start a worker."""
        return subprocess.Popen(
            [VTC, "rlaunch", "rapidfire"],
            cwd=self.folder,
            env=self.environment,
            stdout=self._log,
            stderr=self._log,
        )

    def restart_database(self, how: signal.Signals) -> None:
        """Stop the server as told, and start it again two seconds later."""
        os.kill(int((self.folder / "data/database/mongod.pid").read_text()), how)
        time.sleep(2.0)
        self.vtc("db", "start")

    def run(
        self, n_workers: int, kills: int, kill_every_s: float, restarts: int, limit_s: float
    ) -> Report:
        """Work, kill and restart until all is done; return times and counts of it."""
        start = time.monotonic()
        workers = [self.worker() for _ in range(n_workers)]
        report = Report()
        kill_at = start + kill_every_s
        restart_at = [start + 5 * kill_every_s * (turn + 1) for turn in range(restarts)]
        try:
            while self.is_unfinished():
                if time.monotonic() - start > limit_s:
                    raise SystemExit(f"not done after {limit_s:g} s: see {self._log.name}")
                time.sleep(0.5)
                alive = [worker for worker in workers if worker.poll() is None]
                if not alive:  # they found nothing; what a dead one began is not given up yet
                    time.sleep(FIREWORKS["RAPIDFIRE_SLEEP_SECS"])
                    workers.append(self.worker())
                elif report.kills < kills and time.monotonic() > kill_at:
                    victim = self.random.choice(alive)
                    victim.kill()
                    victim.wait()
                    workers[workers.index(victim)] = self.worker()
                    report.kills += 1
                    kill_at = time.monotonic() + kill_every_s
                if restart_at and time.monotonic() > restart_at[0]:
                    restart_at.pop(0)
                    self.restart_database(signal.SIGKILL if report.restarts else signal.SIGTERM)
                    report.restarts += 1
        finally:
            for worker in workers:
                worker.kill()
                worker.wait()
        report.wall_s = time.monotonic() - start
        return report

    def is_unfinished(self) -> bool:
        """Say whether there is work left."""
        from vtc_flows.errors import VtcFlowsError

        try:
            waiting: int = self.database().fireworks.count_documents(
                {"state": {"$in": ["READY", "RUNNING", "WAITING", "RESERVED"]}}
            )
        except VtcFlowsError:
            return True
        return waiting > 0

    def database(self) -> Any:
        """Return the drill's database."""
        from vtc_flows.settings import load_settings
        from vtc_flows.stores.connection import open_database

        return open_database(load_settings(data_directory=self.folder / "data"))

    def count(self, report: Report) -> None:
        """Fill in what the database and the engine's log hold in the end."""
        status = json.loads(self.vtc("status", "--json"))
        database = self.database()
        names = [each["record_id"] for each in database.sams.find({}, {"record_id": 1})]
        report.states = {"sites": status["sites"], "records": status["records"]}
        report.sites, report.records = (
            sum(each.values()) for each in (status["sites"], status["records"])
        )
        report.records_present = len(set(names))
        report.records_twice = len(names) - len(set(names))
        report.records_complete = database.sams.count_documents({"state": "complete"})
        report.computations = len(self.computed.read_text().splitlines())
        fields = {"launches": 1, "archived_launches": 1}
        launches = {each["launch_id"]: each for each in database.launches.find()}
        for firework in database.fireworks.find({}, fields):
            every = [launches[name] for name in firework["archived_launches"]]
            every += [launches[name] for name in firework["launches"]]
            report.fireworks_twice += sum(each["state"] == "COMPLETED" for each in every) > 1
            for one, following in pairwise(every):
                (began, heard), (again, _) = _ran(one), _ran(following)
                report.launches_lost += 1
                report.lost_work_s += heard - began
                report.lost_waiting_s += again - heard


def _ran(launch: dict[str, Any]) -> tuple[float, float]:
    """Return when a launch began and when it was last heard of, seconds."""
    running = [each for each in launch["state_history"] if each["state"] == "RUNNING"]
    times = [datetime.fromisoformat(str(value)) for value in _times(running or [launch])]
    stamps = [each.replace(tzinfo=None).timestamp() for each in times]
    return min(stamps), max(stamps)


def _times(events: list[dict[str, Any]]) -> Iterator[Any]:
    for event in events:
        yield from (event[key] for key in ("created_on", "updated_on") if key in event)


def copies(count: int, file: Path) -> Path:
    """Write the crystals of the tests under many names, as JSON lines."""
    from pymatgen.core.structure import Structure

    folder = ROOT / "tests" / "data" / "structures"
    known = [Structure.from_file(folder / f"{name}.cif").as_dict() for name in SMALL]
    with file.open("w") as lines:
        for number in range(count):
            each = {"id": f"copy-{number:04d}", "structure": known[number % len(known)]}
            lines.write(json.dumps(each) + "\n")
    return file


def text(report: Report) -> str:
    """Return the report as a table."""
    rows = {
        "crystals / sites / records": f"{report.crystals} / {report.sites} / {report.records}",
        "wall": f"{report.wall_s:.0f} s",
        "workers killed / database restarted": f"{report.kills} / {report.restarts}",
        "records there / complete / twice": (
            f"{report.records_present} / {report.records_complete} / {report.records_twice}"
        ),
        "sites computed": f"{report.computations}",
        "launches lost with their worker": f"{report.launches_lost}",
        "jobs completed twice": f"{report.fireworks_twice}",
        "time lost: work cut off": f"{report.lost_work_s:.0f} s",
        "time lost: until found and begun again": f"{report.lost_waiting_s:.0f} s",
    }
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {row} |" for name, row in rows.items())])


def main() -> None:
    """Drill as the command line says."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--crystals", type=int, default=200)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--takes", type=float, default=0.0, metavar="S", help="seconds of a site")
    parser.add_argument("--kill-every", type=float, default=4.0, metavar="S")
    parser.add_argument("--restarts", type=int, default=2)
    parser.add_argument("--limit", type=float, default=1800.0, metavar="S")
    parser.add_argument("--structures", type=Path, help="take the first of at most 12 atoms of it")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="vtc-drill-") as place:
        drill = Drill(Path(place), given.seed, given.takes)
        source = given.structures or copies(given.crystals, Path(place) / "crystals.jsonl")
        most = ("--limit", str(given.crystals), "--max-atoms", "40")
        if given.structures:
            most = (*most[:3], "12")
        drill.vtc("db", "start")
        try:
            drill.vtc("submit", str(source.resolve()), *most, "--engine", ENGINE)
            report = drill.run(
                given.workers, given.kills, given.kill_every, given.restarts, given.limit
            )
            report.crystals = given.crystals
            drill.count(report)
        finally:
            drill.vtc("db", "stop")
    print(json.dumps(asdict(report)) if given.json else text(report))
    if faults := report.faults():
        raise SystemExit("; ".join(faults))


if __name__ == "__main__":
    main()
