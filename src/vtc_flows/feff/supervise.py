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
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from vtc_flows import errors
from vtc_flows.errors import EngineCrashError, EngineError, EngineTimeoutError, StorageError
from vtc_flows.feff.forks import SERVER, Ended, ServerLostError
from vtc_flows.feff.watch import Progress

LOG_FILE = "feff.log"

#: What FEFF's library writes before it ends the process by itself, with exit code 0.
_OVERLAP = ("FOLP for POTENTIAL type", "INCREASE NOVP")
_NO_CORE_LEVEL = "CORVAL-1"
_ITERATING = "mu_old"
_LOG_TAIL_LINES = 12
_MOST_SERVERS = 2
#: No fault of the program's own ends it by one of these: a user, a batch system, or the kernel
#: for want of memory.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM)


@dataclass
class Usage:
    """
    What processes used.

    Attributes
    ----------
    cpu_s : float
        CPU seconds of all of them.
    memory_mib : float
        Most memory that one of them held.
    """

    cpu_s: float = 0.0
    memory_mib: float = 0.0

    def add(self, ended: Ended) -> None:
        """Add a process."""
        self.cpu_s += ended.cpu_s
        self.memory_mib = max(self.memory_mib, ended.memory_mib)


def run_worker(
    run_dir: Path, *, timeout_s: float, progress: Progress, usage: Usage | None = None
) -> dict[str, Any]:
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
    usage : Usage, optional
        What the worker used is added to it, also where it failed.

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
    for _ in range(_MOST_SERVERS):
        try:
            return _run_once(run_dir, timeout_s, progress, Usage() if usage is None else usage)
        except ServerLostError:
            continue  # the site is not to blame
    raise EngineCrashError(
        "the process that starts FEFF was ended twice: by a user, a batch system, or for want of "
        "memory",
        log_tail=log_tail(run_dir),
        reason="killed",
    )


def _run_once(run_dir: Path, timeout_s: float, progress: Progress, usage: Usage) -> dict[str, Any]:
    with (run_dir / LOG_FILE).open("wb") as log, _pipe() as (events, write_end):
        try:
            process = SERVER.fork(str(run_dir), log.fileno(), write_end)
        finally:
            os.close(write_end)
        try:
            last = _listen(events, deadline=time.monotonic() + timeout_s, progress=progress)
        except BaseException as error:
            process.kill()
            with suppress(ServerLostError):
                usage.add(process.wait())
            if not isinstance(error, TimeoutError):
                raise
            raise EngineTimeoutError(
                f"the engine was stopped after {timeout_s:g} s: raise the time limit per site "
                "or ask for fewer atoms",
                log_tail=log_tail(run_dir),
            ) from None
        ended = process.wait()
        usage.add(ended)
    if last.get("event") == "finished":
        return last
    raise _failure(last, ended.code, run_dir)


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
    return _gave_up(returncode, tail)


def _gave_up(returncode: int, tail: str) -> EngineCrashError:
    if any(words in tail for words in _OVERLAP) and _ITERATING not in tail:
        # it follows from the positions alone, so no gentler iteration can help
        return EngineCrashError(
            "the spheres of atoms that are close together overlap by more than FEFF's tables hold "
            "(40 steps of its radial grid)",
            log_tail=tail,
            reason="overlap_limit",
        )
    if _NO_CORE_LEVEL in tail:
        return EngineCrashError(
            f"FEFF found no level where it looked for one above the core ({_NO_CORE_LEVEL})",
            log_tail=tail,
        )
    return EngineCrashError(
        f"FEFF gave up without a result (exit code {returncode})", log_tail=tail
    )
