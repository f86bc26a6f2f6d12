from __future__ import annotations

import os
import signal
import uuid
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from pymatgen.core.structure import Structure
from slurm_node import missing_programs, slurm_node

from vtc_flows.errors import ConfigurationError
from vtc_flows.feff.discovery import find_feff8l
from vtc_flows.feff.feff10_programs import find_feff10
from vtc_flows.settings import load_settings

TESTS = Path(__file__).parent
STRUCTURES = TESTS / "data" / "structures"
ANALYTIC = "analytic_engine:make"

#: How a machine says where its FEFF is: the tests that need it use this one.
KEPT = {"VTC_FEFF8L_DIRECTORY", "VTC_DATA_DIRECTORY"}
#: FEFF10 is so much slower that only the tests of its mark use a real one.
KEPT_FOR_FEFF10 = {"VTC_FEFF10_DIRECTORY", "VTC_FEFF10_LAUNCHER"}


#: What finds the FEFF that the tests of a mark need.
FINDERS = {"engine": find_feff8l, "feff10": find_feff10}


def pytest_configure() -> None:
    """Let interrupts through, which whatever a shell starts in the background ignores."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs FEFF, with a sentence, where there is none."""
    for mark, find in FINDERS.items():
        needing = [item for item in items if item.get_closest_marker(mark)]
        if not needing:
            continue
        try:
            find(load_settings())
        except ConfigurationError as error:
            for item in needing:
                item.add_marker(pytest.mark.skip(reason=str(error)))


@pytest.fixture(autouse=True)
def own_settings(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Keep the settings and the environment of whoever runs the tests out of them."""
    kept = KEPT | (KEPT_FOR_FEFF10 if request.node.get_closest_marker("feff10") else set())
    for name in [name for name in os.environ if name.startswith(("VTC_", "ANALYTIC_"))]:
        if name not in kept:
            monkeypatch.delenv(name)
    monkeypatch.setenv("VTC_CONFIG_FILE", str(tmp_path_factory.mktemp("config") / "none.toml"))
    for name in ("MP_API_KEY", "PMG_MAPI_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def structure_file():
    """Return the path of a test structure by its name."""

    def path(name: str) -> Path:
        found = STRUCTURES / f"{name}.cif"
        assert found.is_file()
        return found

    return path


@pytest.fixture
def crystal(structure_file):
    """Return a test structure by its name, in the cell of its file."""

    def read(name: str) -> Structure:
        return Structure.from_file(structure_file(name), primitive=False)

    return read


@pytest.fixture
def analytic(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Make the analytic engine importable in child processes too; return its log."""
    monkeypatch.setenv("PYTHONPATH", str(TESTS / "support"))
    log = tmp_path / "analytic.log"
    monkeypatch.setenv("ANALYTIC_LOG", str(log))
    return log


@pytest.fixture(scope="session")
def mongo_server(tmp_path_factory: pytest.TempPathFactory):
    """Run a real MongoDB server for all tests; skip with a sentence where there is none."""
    from vtc_flows.stores.local_server import start_server, stop_server

    settings = load_settings(data_directory=tmp_path_factory.mktemp("mongo"))
    try:
        server = start_server(settings)
    except ConfigurationError as error:
        pytest.skip(str(error))
    yield server
    stop_server(settings)


@pytest.fixture
def database(mongo_server, monkeypatch: pytest.MonkeyPatch):
    """Return an empty database that the settings name, in child processes too."""
    from vtc_flows.stores.connection import close_databases, open_database

    monkeypatch.setenv("VTC_DATABASE_URI", mongo_server.uri)
    monkeypatch.setenv("VTC_DATABASE_NAME", f"test_{uuid.uuid4().hex[:12]}")
    opened = open_database(load_settings())
    yield opened
    opened.client.drop_database(opened.name)
    close_databases()


@pytest.fixture(scope="session")
def slurm():
    """Run a real SLURM for all tests; skip with a sentence where there is none."""
    missing = missing_programs()
    if missing:
        pytest.skip(f"no {', '.join(missing)} here: tests/support/install_slurm.sh installs SLURM")
    with slurm_node() as node:
        yield node


@pytest.fixture
def vtc(tmp_path: Path):
    """Call the command line in this process."""
    from vtc_flows.cli import main

    def call(*arguments: object) -> Result:
        return CliRunner().invoke(main, [str(argument) for argument in arguments])

    return call
