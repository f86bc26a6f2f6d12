"""
Start the worker process, listen to it, and know how it ended.

FEFF itself never reports failure: an exit code of 0 proves nothing. A run counts only when the
worker said so; silence, a signal or a time limit are errors that carry the end of its log.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from vtc_flows import errors
from vtc_flows.errors import EngineCrashError, EngineError, EngineTimeoutError, StorageError
from vtc_flows.feff.processes import ONE_THREAD
from vtc_flows.feff.watch import Progress

LOG_FILE = "feff.log"

_LOG_TAIL_LINES = 12
#: No fault of the program's own ends it by one of these: a user, a batch system, or the kernel
#: for want of memory.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM)


def run_worker(run_dir: Path, *, timeout_s: float, progress: Progress) -> dict[str, Any]:
    """
    Run the worker on a directory until it has finished.

    Parameters
    ----------
    run_dir : Path
        Holds the worker's input; gets its log and its result.
    timeout_s : float
        Wall-clock seconds after which it is stopped.
    progress : callable
        Told each step.

    Returns
    -------
    dict
        What the worker said at its end.

    Raises
    ------
    EngineTimeoutError
        If it took too long.
    EngineCrashError
        If it died or stopped without a result.
    StorageError
        If its disk is full.
    EngineError
        What the worker itself reported, as the class it named.
    """
    with (run_dir / LOG_FILE).open("wb") as log, _pipe() as (events, write_end):
        try:
            process = subprocess.Popen(
                [sys.executable, "-m", "vtc_flows.feff.worker", str(run_dir), str(write_end)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=run_dir,
                env={**os.environ, **ONE_THREAD},
                pass_fds=[write_end],
                start_new_session=True,  # an interrupt is ours to handle, then ours to pass on
            )
        finally:
            os.close(write_end)  # also where the folder is gone and nothing starts
        try:
            last = _listen(events, deadline=time.monotonic() + timeout_s, progress=progress)
            process.wait(timeout=30)
        except TimeoutError:
            raise EngineTimeoutError(
                f"the engine was stopped after {timeout_s:g} s: raise the time limit per site "
                "or ask for fewer atoms",
                log_tail=log_tail(run_dir),
            ) from None
        finally:
            _end(process)
    if last.get("event") == "finished":
        return last
    raise _failure(last, process.returncode, run_dir)


@contextmanager
def _pipe() -> Iterator[tuple[IO[bytes], int]]:
    """Give the end to read from, which is closed at the end, and the one to write into."""
    read_end, write_end = os.pipe()
    with os.fdopen(read_end, "rb", buffering=0) as events:
        yield events, write_end


def log_tail(run_dir: Path) -> str:
    """Return the last lines that the engine wrote."""
    try:
        lines = (run_dir / LOG_FILE).read_text(encoding="latin-1").splitlines()
    except OSError:
        return ""
    return "\n".join([line.rstrip() for line in lines if line.strip()][-_LOG_TAIL_LINES:])


def _listen(events: Any, *, deadline: float, progress: Progress) -> dict[str, Any]:
    """Return the last event; raise TimeoutError when the deadline passes first."""
    last: dict[str, Any] = {}
    pending = b""
    with selectors.DefaultSelector() as selector:
        selector.register(events, selectors.EVENT_READ)
        while True:
            left = deadline - time.monotonic()
            if left <= 0 or not selector.select(left):
                raise TimeoutError
            chunk = events.read(65536)
            if not chunk:
                return last
            *lines, pending = (pending + chunk).split(b"\n")
            for line in lines:
                last = json.loads(line)
                if last["event"] == "progress":
                    progress(last["stage"], last["done"], last["total"])


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _failure(last: dict[str, Any], returncode: int, run_dir: Path) -> errors.VtcFlowsError:
    tail = log_tail(run_dir)
    if "No space left on device" in tail + str(last.get("message", "")):
        return StorageError(f"no space left on the disk of {run_dir}: free some and run again")
    if last.get("event") == "failed":
        kind = getattr(errors, last["kind"], EngineCrashError)
        if issubclass(kind, EngineError):
            return kind(last["message"], log_tail=tail, reason=last.get("reason"))
        return EngineCrashError(last["message"], log_tail=tail)
    if returncode < 0:
        ended_by = signal.Signals(-returncode)
        reason = "killed" if ended_by in _FROM_OUTSIDE else None
        return EngineCrashError(
            f"the FEFF process was ended by {ended_by.name}", log_tail=tail, reason=reason
        )
    return EngineCrashError(
        f"FEFF gave up without a result (exit code {returncode})", log_tail=tail
    )
