"""The server that forks workers: what is gone, who is told, and that nothing is left."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tests.feff.test_feff8l import octahedron, processes, workers

from vtc_flows.errors import EngineCrashError
from vtc_flows.feff.discovery import find_feff8l
from vtc_flows.feff.feff8l import Feff8lEngine
from vtc_flows.feff.supervise import Usage, run_worker
from vtc_flows.settings import load_settings

pytestmark = pytest.mark.engine


@pytest.fixture
def engine(tmp_path):
    return Feff8lEngine(find_feff8l(load_settings()), scratch_directory=tmp_path)


@pytest.fixture
def spectrum(engine):
    return engine.run_site(octahedron())[0]


def servers() -> list[int]:
    return processes("-P", str(os.getpid()), "-f", "vtc_flows.feff.fork_server")


def end_of(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def gone(pids: list[int], within_s: float = 10.0) -> bool:
    """Whether processes end in a while; one that nobody has waited for has ended."""
    deadline = time.monotonic() + within_s

    def there(pid: int) -> bool:
        stat = Path(f"/proc/{pid}/stat")
        return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"

    while any(there(pid) for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_one_server_serves_all_sites(engine, spectrum):
    first = servers()
    again = engine.run_site(octahedron())[0]
    assert servers() == first
    assert len(first) == 1
    assert workers() == []
    assert np.array_equal(again.tensor, spectrum.tensor)


def test_costs_are_told(spectrum):
    told = sum(spectrum.timings_s[stage] for stage in ("scf", "phases", "fms"))
    assert told <= spectrum.timings_s["total"] < told + 2.0
    assert 20 < spectrum.memory_mib < 2000


def test_a_server_that_ended_is_replaced(engine, spectrum):
    (old,) = servers()
    end_of(old)
    assert gone([old])
    assert np.array_equal(engine.run_site(octahedron())[0].tensor, spectrum.tensor)
    assert servers() != [old]


def test_a_site_whose_server_ends_runs_once_more(engine, spectrum):
    ended = []

    def once(stage: str, done: int, total: int) -> None:
        if stage == "scf" and done == 2 and not ended:
            ended.extend([*workers(), *servers()])
            end_of(ended[-1])

    found = engine.run_site(octahedron(), progress=once)[0]
    assert len(ended) == 2
    assert gone(ended)  # the worker, too
    assert found.scf.recovery == "none"
    assert np.array_equal(found.tensor, spectrum.tensor)


def test_a_server_that_is_ended_again_and_again_is_named(engine):
    def always(stage: str, done: int, total: int) -> None:
        for pid in servers():
            end_of(pid)

    with pytest.raises(EngineCrashError, match="ended twice") as caught:
        engine.run_site(octahedron(), progress=always)
    assert caught.value.reason == "killed"


def test_nothing_is_left_when_the_caller_is_killed(tmp_path):
    code = (
        "from tests.feff.test_feff8l import octahedron, workers\n"
        "from tests.feff.test_forks import servers\n"
        "from vtc_flows.feff.discovery import find_feff8l\n"
        "from vtc_flows.feff.feff8l import Feff8lEngine\n"
        "from vtc_flows.settings import load_settings\n"
        "engine = Feff8lEngine(find_feff8l(load_settings()))\n"
        "def told(stage, done, total):\n"
        "    print(*servers(), *workers(), flush=True) if done == 1 and stage == 'scf' else None\n"
        "engine.run_site(octahedron(), progress=told)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TMPDIR": str(tmp_path)},
    ) as caller:
        assert caller.stdout is not None
        pids = [int(word) for word in caller.stdout.readline().split()]
        caller.kill()
    assert len(pids) == 2
    assert gone(pids)


def test_a_fork_of_the_caller_has_a_server_of_its_own(engine, spectrum, tmp_path):
    before = servers()
    result = tmp_path / "tensor.npy"
    child = os.fork()
    if child == 0:
        try:
            np.save(result, engine.run_site(octahedron())[0].tensor)
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert np.array_equal(np.load(result), spectrum.tensor)
    assert servers() == before
    assert np.array_equal(engine.run_site(octahedron())[0].tensor, spectrum.tensor)


def test_what_a_worker_prints_is_in_its_log(tmp_path):
    usage = Usage()
    with pytest.raises(EngineCrashError, match="FileNotFoundError") as caught:
        run_worker(tmp_path, timeout_s=60.0, progress=lambda *_: None, usage=usage)
    assert "site.json" in caught.value.log_tail
    assert "Traceback" in (tmp_path / "feff.log").read_text()
    assert usage.cpu_s > 0


@pytest.mark.skipif(
    not Path("/proc/self/autogroup").exists(), reason="no sessions are weighed here"
)
def test_a_worker_has_the_priority_of_its_caller(tmp_path):
    """Where the system weighs sessions, a niced process in a session of its own is not nice."""
    code = (
        "import os\n"
        "os.nice(7)\n"
        "from pathlib import Path\n"
        "from tests.feff.test_feff8l import octahedron, workers\n"
        "from vtc_flows.feff.discovery import find_feff8l\n"
        "from vtc_flows.feff.feff8l import Feff8lEngine\n"
        "from vtc_flows.settings import load_settings\n"
        "engine = Feff8lEngine(find_feff8l(load_settings()))\n"
        "def told(stage, done, total):\n"
        "    if done == 1 and stage == 'scf':\n"
        "        print(*(Path(f'/proc/{pid}/autogroup').read_text() for pid in workers()))\n"
        "engine.run_site(octahedron(), progress=told)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    assert done.stdout.split()[-1] == "7"
