from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vtc_flows.crystal.sources import load_structures
from vtc_flows.schemas import SamsSettings, XesSettings
from vtc_flows.settings import load_settings
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker

CONFIGURATION = """\
PING_TIME_SECS: 1
RUN_EXPIRATION_SECS: 4
RAPIDFIRE_SLEEP_SECS: 1
WFLOCK_EXPIRATION_SECS: 2
WFLOCK_EXPIRATION_KILL: true
PRINT_FW_JSON: false
"""


@pytest.fixture
def maker():
    """Return a maker of flows with the analytic engine."""

    def make(*sizes: int, engine: str = "analytic_engine:make", **sams) -> PolarizedXesFlowMaker:
        return PolarizedXesFlowMaker(
            site_maker=SiteXesMaker(engine=engine, settings=XesSettings(fms_atoms=sizes or (20,))),
            sams_settings=SamsSettings(**sams),
        )

    return make


@pytest.fixture
def record(structure_file):
    """Return a test structure as it is read from its file."""

    def read(name: str):
        (found,) = load_structures([structure_file(name)])
        return found

    return read


@pytest.fixture
def launchpad(database, analytic):
    """Return the launchpad of an empty database that is ready."""
    from vtc_flows.workflow.launchpad import open_launchpad, prepare_database

    prepare_database(load_settings())
    opened = open_launchpad(load_settings())
    yield opened
    opened.connection.close()


@pytest.fixture
def fireworks(launchpad, mongo_server, database, tmp_path):
    """Run FireWorks' own commands, as a user does: with a launchpad file and nothing of ours."""
    folder = tmp_path / "fireworks"
    folder.mkdir()
    (folder / "my_launchpad.yaml").write_text(
        f"host: {mongo_server.uri}\nuri_mode: true\nname: {database.name}\n"
    )
    (folder / "FW_config.yaml").write_text(CONFIGURATION)

    def start(*command: str, **environment: str) -> subprocess.Popen[str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("VTC_DATABASE")}
        return subprocess.Popen(
            [str(Path(sys.executable).parent / command[0]), *command[1:]],
            cwd=folder,
            env={**inherited, "VTC_DATA_DIRECTORY": str(tmp_path / "none"), **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(*command: str, **environment: str) -> str:
        process = start(*command, **environment)
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
        return output

    run.start = start
    run.folder = folder
    return run
