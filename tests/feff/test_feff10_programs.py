"""Finding FEFF10's programs, and running one of them."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fake_feff10 import FakeFeff10, is_alive, recorded_calls
from record_feff10 import FOLDER, SETTINGS, cluster_of

from vtc_flows.errors import (
    ConfigurationError,
    EngineCrashError,
    EngineNotFoundError,
    EngineOutputError,
    EngineTimeoutError,
    StorageError,
)
from vtc_flows.feff import launch
from vtc_flows.feff.feff10 import Feff10Engine, from_settings
from vtc_flows.feff.feff10_programs import MAKES, PROGRAMS, ProgramRunner, find_feff10, log_tail
from vtc_flows.settings import load_settings

SMALL = SETTINGS.for_size(SETTINGS.fms_atoms[0])


def program(path: Path, script: str = "exit 0") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def programs(tmp_path) -> Path:
    """Return a folder of programs that do nothing."""
    for name in PROGRAMS:
        program(tmp_path / "Seq" / name, f"exit 0 # {name}")
    return tmp_path / "Seq"


@pytest.fixture(autouse=True)
def without_feff(monkeypatch, tmp_path):
    """Keep a FEFF10 of this machine out."""
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin")
    if any(shutil.which(name) for name in ("rdinp", "feff10")):
        pytest.skip("a FEFF10 in the system's own folders")


@pytest.fixture
def run_in(programs, tmp_path):
    """Return a function that runs one program with another content."""

    def run(name: str, script: str, *, timeout_s: float = 30.0, launcher: str = "", watch=None):
        program(programs / name, script)
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        installation = find_feff10(load_settings(feff10_directory=programs))
        runner = ProgramRunner(installation, folder, timeout_s=timeout_s, launcher=launcher)
        runner.run(name, watch)
        return runner

    return run


# --- where it is ---------------------------------------------------------------------------------


def test_nowhere():
    with pytest.raises(EngineNotFoundError, match=r"VTC_FEFF10_DIRECTORY, or put it on PATH"):
        find_feff10(load_settings())


def test_settings_go_before_the_path(programs, tmp_path, monkeypatch):
    other = shutil.copytree(programs, tmp_path / "other")
    monkeypatch.setenv("PATH", f"{other}{os.pathsep}/usr/bin")
    assert find_feff10(load_settings()).folder == other
    found = find_feff10(load_settings(feff10_directory=programs))
    assert found.folder == programs
    assert found.origin == "settings"
    assert set(found.programs) == set(PROGRAMS)
    assert all(path.is_absolute() for path in found.programs.values())


def test_the_variable_of_the_environment(programs, monkeypatch):
    monkeypatch.setenv("VTC_FEFF10_DIRECTORY", str(programs))
    assert from_settings(load_settings()).identity().startswith("feff10/")


def test_first_folder_of_the_path_with_all_programs(programs, tmp_path, monkeypatch):
    part = shutil.copytree(programs, tmp_path / "part")
    (part / "ff2x").unlink()
    monkeypatch.setenv("PATH", os.pathsep.join([str(part), str(programs), "/usr/bin"]))
    found = find_feff10(load_settings())
    assert (found.folder, found.origin) == (programs, "path")


@pytest.mark.parametrize("script", ["feff", "feff10", "feffmpi"])
@pytest.mark.parametrize("beside", ["", "Seq", "MPI"])
def test_beside_the_script_that_is_on_the_path(programs, tmp_path, script, beside):
    """As FEFF10 installs itself: bin/feff and bin/Seq; the script may be linked from elsewhere."""
    real = program(tmp_path / "feff10" / "bin" / script)
    wanted = real.parent / beside
    shutil.copytree(programs, wanted, dirs_exist_ok=True)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / script).symlink_to(real)
    assert find_feff10(load_settings()).folder == wanted.resolve()


def test_what_is_missing_is_named(programs):
    (programs / "fms").unlink()
    (programs / "ff2x").chmod(0o644)
    (programs / "pot").unlink()
    (programs / "pot").mkdir()
    with pytest.raises(ConfigurationError, match=r"no program pot, fms, ff2x that can be exec"):
        find_feff10(load_settings(feff10_directory=programs))


def test_a_home_folder_is_understood(programs, monkeypatch):
    monkeypatch.setenv("HOME", str(programs.parent))
    assert find_feff10(load_settings(feff10_directory="~/Seq")).folder == programs


def test_any_changed_program_is_another_feff10(programs):
    """Its version is 10.0.0 whatever its sources are."""
    settings = load_settings(feff10_directory=programs)
    digests = {find_feff10(settings).sha256}
    for name in PROGRAMS:
        program(programs / name, f"exit 0 # another {name}")
        digests.add(find_feff10(settings).sha256)
    assert len(digests) == len(PROGRAMS) + 1
    assert find_feff10(settings).sha256 in digests


def test_exchanged_programs_are_another_feff10(programs):
    settings = load_settings(feff10_directory=programs)
    before = find_feff10(settings).sha256
    (programs / "path").rename(programs / "kept")
    (programs / "genfmt").rename(programs / "path")
    (programs / "kept").rename(programs / "genfmt")
    assert find_feff10(settings).sha256 != before


# --- how one runs --------------------------------------------------------------------------------


def test_what_a_program_finds(run_in, tmp_path, monkeypatch):
    """Its folder, no input, one thread, nothing of an earlier error."""
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".feff.error").write_text("of an earlier program")
    runner = run_in(
        "screen", 'pwd; cat; ls -A; echo "$OMP_NUM_THREADS $MKL_NUM_THREADS"; ulimit -s'
    )
    folder, *rest = (tmp_path / "run" / "screen.log").read_text().split()
    assert Path(folder) == tmp_path / "run"
    assert ".feff.error" not in rest
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    stack = "unlimited" if hard < 0 else str(hard >> 10)
    assert rest[-3:] == ["1", "1", stack]
    assert runner.cpu_s["screen"] > 0


def test_processor_time_adds_up_over_calls(programs, tmp_path):
    program(programs / "screen", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done")
    installation = find_feff10(load_settings(feff10_directory=programs))
    runner = ProgramRunner(installation, tmp_path, timeout_s=30)
    runner.run("screen")
    once = runner.cpu_s["screen"]
    runner.run("screen")
    assert runner.cpu_s["screen"] > 1.3 * once


def test_files_of_an_earlier_run_are_not_taken_for_new(run_in, tmp_path):
    (tmp_path / "run").mkdir()
    for names in MAKES.values():
        for name in names:
            (tmp_path / "run" / name).write_text("old")
    with pytest.raises(EngineOutputError, match=r"fms left no gg\.bin") as caught:
        run_in("fms", "echo done")
    assert caught.value.reason == "output_missing"
    with pytest.raises(EngineOutputError, match=r"mkgtr left an empty fms\.bin") as caught:
        run_in("mkgtr", ": > fms.bin")
    assert caught.value.reason == "output_truncated"
    run_in("ff2x", "echo done")  # read at once by the engine, which says more
    assert not (tmp_path / "run" / "xmu.dat").exists()
    assert (tmp_path / "run" / "pot.bin").exists()


def test_each_program_makes_what_it_made_when_it_was_recorded():
    for call in recorded_calls(FOLDER, "converged"):
        assert set(call["files"]) <= set(MAKES.get(call["program"], ()))


def test_what_a_program_prints_is_seen_while_it_runs(run_in):
    said = []
    run_in("screen", "echo one; sleep 0.8; echo two", watch=said.append)
    assert said[0] == "one\n"


def test_log_tail_is_short(tmp_path):
    log = tmp_path / "log"
    log.write_text("\n".join(f"line {n}\n" for n in range(100)))
    assert log_tail(log).splitlines() == [f"line {n}" for n in range(88, 100)]
    assert log_tail(tmp_path / "none") == ""


def test_time_is_counted_for_all_programs_together(programs, tmp_path):
    program(programs / "screen", "sleep 0.4")
    installation = find_feff10(load_settings(feff10_directory=programs))
    runner = ProgramRunner(installation, tmp_path, timeout_s=1.0)
    runner.run("screen")
    time.sleep(0.5)
    with pytest.raises(EngineTimeoutError, match=r"after 1 s, in FEFF10's screen"):
        runner.run("screen")


@pytest.mark.parametrize(("code", "reason"), [(1, "crash"), (126, "program_missing")])
def test_exit_codes(run_in, code, reason):
    with pytest.raises(EngineCrashError) as caught:
        run_in("screen", f"echo last words; exit {code}")
    assert caught.value.reason == reason
    if reason == "crash":
        assert "last words" in caught.value.log_tail


def test_a_run_folder_that_is_gone(programs, tmp_path):
    installation = find_feff10(load_settings(feff10_directory=programs))
    runner = ProgramRunner(installation, tmp_path / "gone", timeout_s=5)
    with pytest.raises(StorageError, match=r"screen cannot be run in .*gone"):
        runner.run("screen")


# --- several processes ---------------------------------------------------------------------------


def test_a_launcher_starts_the_parallel_programs_alone(tmp_path, monkeypatch):
    """Quotes and options as in a shell."""
    fake = FakeFeff10(tmp_path / "programs", FOLDER)
    noted = tmp_path / "noted"
    starter = program(
        tmp_path / "my mpirun", f'echo "$1 $2 $(basename "$3")" >> {noted}; shift 2; exec "$@"'
    )
    monkeypatch.setenv("VTC_FEFF10_DIRECTORY", str(fake.folder))
    monkeypatch.setenv("VTC_FEFF10_LAUNCHER", f"'{starter}' -n 4")
    from_settings(load_settings()).run(cluster_of("wurtzite_ZnO", "Zn"), SMALL)
    assert noted.read_text().splitlines() == ["-n 4 pot", "-n 4 xsph", "-n 4 fms"]


def test_a_launcher_that_is_missing_is_named(tmp_path):
    fake = FakeFeff10(tmp_path / "programs", FOLDER)
    engine = Feff10Engine(
        find_feff10(load_settings(feff10_directory=fake.folder)),
        launcher="no-such-mpirun -n 4",
        scratch_directory=tmp_path,
    )
    with pytest.raises(EngineCrashError, match=r"pot cannot be started \(no-such-mpirun -n 4 /"):
        engine.run(cluster_of("wurtzite_ZnO", "Zn"), SMALL)
    assert len(fake.lines("calls")) == 2


# --- launch.py -----------------------------------------------------------------------------------


def launched(*command: str, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), *command],
        capture_output=True,
        text=True,
        check=False,
        **options,
    )


def test_launch_becomes_the_program():
    done = launched("sh", "-c", "echo $0 $1; exit 7", "a", "b")
    assert (done.returncode, done.stdout) == (7, "a b\n")


def test_launch_raises_the_stack():
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    wanted = "unlimited" if hard < 0 else str(hard >> 10)

    def lower() -> None:
        resource.setrlimit(resource.RLIMIT_STACK, (4 << 20, hard))

    assert launched("sh", "-c", "ulimit -s", preexec_fn=lower).stdout.strip() == wanted


def test_launch_says_what_cannot_be_started(tmp_path):
    assert launched(str(tmp_path / "none")).returncode == launch.NOT_FOUND
    plain = tmp_path / "plain"
    plain.write_text("words")
    plain.chmod(stat.S_IRUSR)
    assert launched(str(plain)).returncode == launch.CANNOT_EXECUTE
    plain.chmod(0o755)  # neither a script nor a program
    assert launched(str(plain)).returncode == launch.CANNOT_EXECUTE


def test_launch_starts_nothing_for_a_process_that_is_gone():
    command = [sys.executable, "-I", "-S", launch.__file__, "1", "echo", "started"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")


PARENT = """
import os, subprocess, sys, time
launch = [sys.executable, "-I", "-S", sys.argv[1], str(os.getpid())]
subprocess.Popen([*launch, "sh", "-c", "echo $$; exec sleep 60"])
time.sleep(60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process of its parent")
def test_a_launched_program_ends_with_its_parent():
    command = [sys.executable, "-c", PARENT, launch.__file__]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        child = int(parent.stdout.readline())
        assert is_alive(child)
        parent.kill()
    end = time.monotonic() + 10
    while is_alive(child) and time.monotonic() < end:
        time.sleep(0.02)
    assert not is_alive(child)
