"""FireWorks' `qlaunch` against a real SLURM and a real MongoDB: nothing here is a stand-in."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from fireworks import Firework, LaunchPad, ScriptTask, Workflow
from slurm_node import PARTITION, SlurmNode

from vtc_flows.settings import load_settings
from vtc_flows.workflow.configuration import configuration_files
from vtc_flows.workflow.launchpad import open_launchpad, prepare_database

PROGRAMS = Path(sys.executable).parent

#: `qlaunch` waits so long after each submission; else 5 s.
FASTER = "\nQUEUE_UPDATE_INTERVAL: 1\n"


@dataclass(frozen=True)
class Login:
    """A user at a cluster: a shell in a folder with the files of `vtc init`."""

    folder: Path
    environment: dict[str, str]
    launchpad: LaunchPad
    slurm: SlurmNode

    def shell(self, *command: object) -> str:
        with self.start(*command) as process:
            output, _ = process.communicate(timeout=60)
        assert process.returncode == 0, output
        return output

    def start(self, *command: object) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(part) for part in command],
            cwd=self.folder,
            env=self.environment,
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

    def add(self, *scripts: str, **spec: object) -> None:
        for script in scripts:
            firework = Firework(ScriptTask.from_str(script), name="a task", spec=spec)
            self.launchpad.add_wf(Workflow([firework]))

    def states(self) -> Counter[str]:
        return Counter(firework["state"] for firework in self.launchpad.fireworks.find())

    def queued(self) -> list[str]:
        """Return the numbers of the jobs that wait or run."""
        states = self.slurm.states().items()
        return [number for number, state in states if state in ("PENDING", "RUNNING")]

    def wait_until_running(self, count: int) -> None:
        deadline = time.monotonic() + 30
        while self.states()["RUNNING"] < count:
            assert time.monotonic() < deadline, (self.states(), self.slurm.listing())
            time.sleep(0.1)

    def wait(self) -> dict[str, dict[str, str]]:
        """Wait until the queue is empty and return what SLURM says about this user's jobs."""
        self.slurm.wait()
        jobs = (self.slurm.job(number) for number in self.slurm.states())
        return {
            job["JobId"]: job for job in jobs if Path(job["WorkDir"]).is_relative_to(self.folder)
        }


@pytest.fixture
def login(slurm: SlurmNode, database, tmp_path: Path) -> Iterator[Login]:
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
        "JOBFLOW_CONFIG_FILE": str(home / "config/jobflow.yaml"),
    }
    launchpad = open_launchpad(settings)
    login = Login(home, environment, launchpad, slurm)
    login.configure(queue=PARTITION, rocket_launch="rlaunch singleshot")
    yield login
    slurm.clear()
    launchpad.connection.close()


def test_a_job_gets_what_the_adapter_asks_for_and_runs(login):
    login.add("echo it runs")
    login.shell("qlaunch", "singleshot")
    (line,) = [line for line in login.slurm.listing().splitlines() if " vtc " in line]
    assert line.split()[1:3] == [PARTITION, "vtc"]
    ((number, job),) = login.wait().items()
    assert login.states() == {"COMPLETED": 1}
    assert (job["JobState"], job["ExitCode"]) == ("COMPLETED", "0:0")
    assert job["TRES"].startswith("cpu=1,mem=4G,node=1")
    assert job["TimeLimit"] == "1-00:00:00"
    assert "it runs" in (login.folder / f"vtc-{number}.out").read_text()


def test_no_more_than_two_are_in_the_queue_at_a_time(login):
    login.add(*4 * ["true"])
    most = 0
    command = ["qlaunch", "rapidfire", "-m", 2, "--nlaunches", 4, "--sleep", 1]
    with login.start(*command) as launching:
        while launching.poll() is None:
            most = max(most, len(login.queued()))
            time.sleep(0.1)
    assert most == 2
    jobs = login.wait()
    assert [job["ExitCode"] for job in jobs.values()] == 4 * ["0:0"]
    assert login.states() == {"COMPLETED": 4}
    assert login.launchpad.launches.count_documents({}) == 4
    assert len(list(login.folder.glob("block_*/launcher_*/vtc-*.out"))) == 4


def test_a_reserved_job_asks_for_what_it_needs_and_is_not_lost_in_the_queue(login):
    login.add("true", _queueadapter={"walltime": "00:10:00", "mem_per_cpu": "1G"})
    login.slurm.stop_starting()
    login.shell("qlaunch", "-r", "rapidfire", "--nlaunches", 1)
    (waiting,) = login.queued()
    assert login.slurm.job(waiting)["JobState"] == "PENDING"
    assert login.states() == {"RESERVED": 1}
    assert waiting in login.shell("lpad", "get_qids", "-i", 1)

    login.slurm.run("scancel", waiting)
    time.sleep(1.1)
    login.shell("lpad", "detect_unreserved", "--time", 1, "--rerun")
    assert login.states() == {"READY": 1}

    login.slurm.go_on()
    login.shell("qlaunch", "-r", "rapidfire", "--nlaunches", 1)
    jobs = login.wait()
    assert [job["JobState"] for job in jobs.values()] == ["CANCELLED", "COMPLETED"]
    for job in jobs.values():
        assert job["JobName"] == "a_task"
        assert job["TRES"].startswith("cpu=1,mem=1G")
        assert job["TimeLimit"] == "00:10:00"
    assert login.states() == {"COMPLETED": 1}


def test_a_cancelled_job_is_found_and_runs_again(login):
    go_on = login.folder / "go-on"
    login.add(f"touch started; test -e {go_on} || sleep 60")
    login.shell("qlaunch", "singleshot")
    login.wait_until_running(1)
    (number,) = login.queued()
    assert login.slurm.job(number)["JobState"] == "RUNNING"
    login.slurm.run("scancel", number)
    assert login.wait()[number]["JobState"] == "CANCELLED"
    assert "CANCELLED" in (login.folder / f"vtc-{number}.error").read_text()
    assert login.states() == {"RUNNING": 1}  # nobody told the launchpad

    time.sleep(1.1)
    login.shell("lpad", "detect_lostruns", "--time", 1, "--rerun")
    assert login.states() == {"READY": 1}
    go_on.touch()
    login.shell("qlaunch", "singleshot")
    assert [job["JobState"] for job in login.wait().values()] == ["CANCELLED", "COMPLETED"]
    assert login.states() == {"COMPLETED": 1}


def test_what_the_queue_refuses_stays_ready(login):
    login.configure(queue="nowhere")
    login.add("true")
    for command in (["singleshot"], ["-r", "singleshot"], ["rapidfire"]):
        assert "could not be submitted" in login.shell("qlaunch", *command)
        assert login.states() == {"READY": 1}
