"""Processes and disks for the tests of FEFF10: less than they want, or taken away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from fake_feff10 import FakeFeff10, is_alive

_RUN = """
import json
from record_feff10 import SETTINGS, cluster_of
from vtc_flows.errors import VtcFlowsError
from vtc_flows.feff.feff10 import from_settings
from vtc_flows.settings import load_settings
try:
    from_settings(load_settings()).run(
        cluster_of("wurtzite_ZnO", "Zn"), SETTINGS.for_size(SETTINGS.fms_atoms[0])
    )
    told = {"kind": "", "message": "", "reason": ""}
except VtcFlowsError as error:
    told = {"kind": type(error).__name__, "message": str(error),
            "reason": getattr(error, "reason", "")}
print(json.dumps(told))
"""


def start(prepare: Callable[[], object] | None = None) -> subprocess.Popen[str]:
    """Run the recorded site in a process of its own, which may be given less than this one has."""
    return subprocess.Popen(
        [sys.executable, "-c", _RUN],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=prepare,
    )


def told_by(process: subprocess.Popen[str]) -> dict[str, str]:
    """Return kind, message and reason of its error, empty where there was none."""
    return json.loads(process.communicate(timeout=300)[0])


def all_gone(fake: FakeFeff10, within_s: float = 5.0) -> bool:
    """Return whether no program or process of one is left after a moment."""
    pids = [int(line) for line in fake.lines("waiting")]
    end = time.monotonic() + within_s
    while any(map(is_alive, pids)) and time.monotonic() < end:
        time.sleep(0.02)
    return not any(map(is_alive, pids))


@contextmanager
def signalling(fake: FakeFeff10, name: str, pid: int | None = None) -> Iterator[None]:
    """Send a signal to each program that waits, or to one process as soon as one waits."""
    over = threading.Event()

    def send() -> None:
        done: set[str] = set()
        while name and not over.wait(0.02):
            for line in set(fake.lines("waiting")) - done:
                if not done or pid is None:
                    os.kill(pid or int(line), getattr(signal, name))
                done.add(line)

    thread = threading.Thread(target=send, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a disk in memory; skip with the reason where that is not allowed."""
    folder.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)
