"""FireWorks' `qlaunch` against a real SLURM and a real MongoDB: nothing here is a stand-in."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fireworks import LaunchPad
from slurm_node import PARTITION, SlurmNode

from vtc_flows.settings import load_settings
from vtc_flows.stores.records import load_records
from vtc_flows.workflow.configuration import configuration_files
from vtc_flows.workflow.launchpad import open_launchpad, prepare_database

PROGRAMS = Path(sys.executable).parent
CALCULATION = ("--engine", "analytic_engine:make", "--fms-atoms", 20)

#: `qlaunch` waits so long after each submission; else 5 s.
FASTER = "\nQUEUE_UPDATE_INTERVAL: 1\n"


#: For whatever takes a few seconds when the machine has nothing else to do.
PATIENCE_S = 120.0


@dataclass(frozen=True)
class Login:
    """A user at a cluster: a shell in a folder with the files of `vtc init`."""

    folder: Path
    environment: dict[str, str]
    launchpad: LaunchPad
    slurm: SlurmNode
    log: Path

    def shell(self, *command: object, **environment: str) -> str:
        with self.start(*command, **environment) as process:
            output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, output
        return output

    def start(self, *command: object, **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def configure(self, **values: str) -> None:
        """Change lines of my_qadapter.yaml, as a user does with an editor."""
        path = self.folder / "config/my_qadapter.yaml"
        text = path.read_text()
        for name, value in values.items():
            text, found = re.subn(rf"(?m)^{name}:.*$", f"{name}: {value}", text)
            assert found == 1, name
        path.write_text(text)

    def states(self) -> Counter[str]:
        return Counter(firework["state"] for firework in self.launchpad.fireworks.find())

    def launch_slow(self) -> str:
        """Launch a job that takes a minute; return its number when it computes."""
        self.log.unlink(missing_ok=True)
        self.shell("qlaunch", "singleshot", ANALYTIC_SLOW="0")
        deadline = time.monotonic() + PATIENCE_S
        while not self.log.exists():
            assert time.monotonic() < deadline, (self.states(), self.slurm.listing())
            time.sleep(0.25)
        (number,) = self.queued()
        return number

    def queued(self) -> list[str]:
        """Return the numbers of the jobs that wait or run."""
        states = self.slurm.states().items()
        return [number for number, state in states if state in ("PENDING", "RUNNING")]

    def wait(self) -> dict[str, dict[str, str]]:
        """Wait until the queue is empty and return what SLURM says about this user's jobs."""
        self.slurm.wait()
        jobs = (self.slurm.job(number) for number in self.slurm.states())
        return {
            job["JobId"]: job for job in jobs if Path(job["WorkDir"]).is_relative_to(self.folder)
        }


@pytest.fixture
def login(slurm: SlurmNode, database, analytic: Path, tmp_path: Path) -> Iterator[Login]:
    settings = load_settings()
    prepare_database(settings)
    home = tmp_path / "home"
    files = configuration_files(
        home,
        uri=settings.database_uri.get_secret_value(),
        database_name=settings.database_name,
        programs=PROGRAMS,
    )
    for path, text in files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + FASTER * (path.name == "FW_config.yaml"))
    environment = {
        **os.environ,
        **slurm.environment,
        "PATH": f"{PROGRAMS}:{os.environ['PATH']}",
        "FW_CONFIG_FILE": str(home / "config/FW_config.yaml"),
        "VTC_SCRATCH_DIRECTORY": str(tmp_path / "scratch"),
        "JOBFLOW_CONFIG_FILE": str(home / "config/jobflow.yaml"),
    }
    launchpad = open_launchpad(settings)
    login = Login(home, environment, launchpad, slurm, analytic)
    login.configure(queue=PARTITION)
    yield login
    slurm.clear()
    launchpad.connection.close()


@pytest.fixture
def submit(login: Login, vtc):
    """Submit crystals as `vtc submit` does, in this process."""

    def call(*structures: Path) -> None:
        result = vtc("submit", *structures, *CALCULATION)
        assert result.exit_code == 0, result.output

    return call


def test_a_job_in_the_queue_works_off_what_there_is(login, structure_file, database):
    files = (structure_file("NiO"), structure_file("triclinic_Fe2P2O7"))
    written = login.shell("vtc", "workflow", *files, *CALCULATION, "-o", "workflows")
    login.shell("lpad", "add", *written.split())
    login.shell("qlaunch", "singleshot")
    (line,) = [line for line in login.slurm.listing().splitlines() if " vtc " in line]
    assert line.split()[1:3] == [PARTITION, "vtc"]
    ((number, job),) = login.wait().items()
    assert login.states() == {"COMPLETED": 5}
    assert [(r.material_id, r.state) for r in load_records(database)] == [
        ("NiO", "complete"),
        ("triclinic_Fe2P2O7", "complete"),
    ]
    assert (job["JobState"], job["ExitCode"]) == ("COMPLETED", "0:0")
    assert job["TRES"].startswith("cpu=1,mem=4G,node=1")
    assert job["TimeLimit"] == "1-00:00:00"
    output = (login.folder / f"vtc-{number}.out").read_text()
    assert output.count("Rocket finished") == 5


def test_a_place_in_the_queue_for_each_job_and_no_more_than_two_at_a_time(
    login, submit, structure_file, database
):
    submit(structure_file("NiO"), structure_file("triclinic_Fe2P2O7"))
    login.configure(rocket_launch="vtc rlaunch singleshot")
    most = 0
    with login.start("qlaunch", "-r", "rapidfire", "-m", 2, "--sleep", 1) as launching:
        while launching.poll() is None:
            most = max(most, len(login.queued()))
            time.sleep(0.25)
    assert most == 2
    jobs = login.wait()
    assert sorted(job["JobName"] for job in jobs.values()) == [
        "records_Fe",
        "records_Ni",
        "site_XES_Fe_0",
        "site_XES_Fe_1",
        "site_XES_Ni_0",
    ]
    for job in jobs.values():
        assert (job["JobState"], job["ExitCode"]) == ("COMPLETED", "0:0")
        assert job["TimeLimit"] == "01:00:00"  # what it is expected to need
    assert login.states() == {"COMPLETED": 5}
    assert database.launches.count_documents({}) == 5
    assert [record.state for record in load_records(database)] == ["complete", "complete"]
    assert len(list(login.folder.glob("block_*/launcher_*/*.out"))) == 5


def test_what_is_cancelled_while_it_waits_is_found(login, submit, structure_file, database):
    submit(structure_file("NiO"))
    login.configure(rocket_launch="vtc rlaunch singleshot")
    login.slurm.stop_starting()
    login.shell("qlaunch", "-r", "singleshot")
    (waiting,) = login.queued()
    assert login.slurm.job(waiting)["JobState"] == "PENDING"
    assert login.states() == {"RESERVED": 1, "WAITING": 1}
    (launch,) = database.launches.find()
    assert launch["state_history"][0]["reservation_id"] == waiting

    login.slurm.run("scancel", waiting)
    time.sleep(1.1)
    login.shell("lpad", "detect_unreserved", "--time", 1, "--rerun")
    assert login.states() == {"READY": 1, "WAITING": 1}
    (job,) = login.wait().values()
    assert job["JobState"] == "CANCELLED"


def test_what_is_cancelled_while_it_runs_is_run_again(login, submit, structure_file, database):
    submit(structure_file("NiO"))
    # scancel, like the end of the time asked for, first asks to end: the job is given back.
    number = login.launch_slow()
    login.slurm.run("scancel", number)
    assert login.wait()[number]["JobState"] == "CANCELLED"
    assert "CANCELLED" in (login.folder / f"vtc-{number}.error").read_text()
    assert login.states() == {"READY": 1, "WAITING": 1}

    # What kills for want of memory does not ask.
    number = login.launch_slow()
    for process in login.slurm.processes(number):
        os.kill(process, signal.SIGKILL)
    assert login.wait()[number]["ExitCode"] == "0:9"
    assert login.states() == {"RUNNING": 1, "WAITING": 1}
    time.sleep(1.1)
    login.shell("lpad", "detect_lostruns", "--time", 1, "--rerun")
    assert login.states() == {"READY": 1, "WAITING": 1}

    login.shell("qlaunch", "singleshot")
    login.wait()
    assert login.states() == {"COMPLETED": 2}
    assert [record.state for record in load_records(database)] == ["complete"]


def test_what_the_queue_refuses_stays_ready(login, submit, structure_file):
    submit(structure_file("NiO"))
    login.configure(queue="nowhere", rocket_launch="vtc rlaunch singleshot")
    assert "could not be submitted" in login.shell("qlaunch", "-r", "rapidfire")
    assert login.states() == {"READY": 1, "WAITING": 1}
    for arguments in (("-r", "rapidfire"), ("singleshot",)):
        with login.start("vtc", "qlaunch", *arguments) as process:
            output, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 2, output
        (said,) = [line for line in output.splitlines() if "the queue took no job" in line]
        assert "nvalid partition" in said
    assert login.states() == {"READY": 1, "WAITING": 1}
