"""
The process that forks a worker for each site.

Importing numpy, scipy and this package takes longer than many a site's phases. So it is done once:
each process that runs sites starts one of these (:mod:`vtc_flows.feff.forks`), which imports what a
worker needs and forks one process for each site. FEFF's library, which keeps state, is loaded in
the fork alone. The standard library's ``multiprocessing.forkserver`` could not be used: it starts
the caller's main module in each fork, and tells neither what a fork cost nor which signal ended it.

Run as ``python -m vtc_flows.feff.fork_server SOCKET_FD``. A message is four bytes with its length,
then JSON. With ``{"directory": ..., "environment": ...}`` come three descriptors: of the log, of
the worker's events, and of a pipe through which the fork's number and, in the end, how it ended and
what it cost are told as JSON lines. ``{"kill": number}`` ends a fork. When the process that started
this one is gone, all forks are ended.
"""

from __future__ import annotations

import ctypes
import gc
import json
import os
import selectors
import signal
import socket
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from vtc_flows.feff import worker

_HEADER_BYTES, _DESCRIPTORS = 4, 3
_FIRST_FREE, _MOST_DESCRIPTORS = 3, 4096
_PR_SET_PDEATHSIG = 1
#: How often to look whether the process that started this one is still there (seconds).
_LOOK_S = 5.0


class ForkServer:
    """
    Forks workers until its socket closes.

    Parameters
    ----------
    connection : socket
        Where requests come from.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._status: dict[int, int] = {}
        self._parent = os.getppid()

    def serve(self) -> None:
        """Answer requests; return when there can be no more."""
        ended, wake_up = socket.socketpair()
        ended.setblocking(False)
        wake_up.setblocking(False)
        signal.set_wakeup_fd(wake_up.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(self._connection, selectors.EVENT_READ)
            selector.register(ended, selectors.EVENT_READ)
            while os.getppid() == self._parent:
                for key, _ in selector.select(_LOOK_S):
                    if key.fileobj is ended:
                        ended.recv(4096)
                    elif not self._answer():
                        return
                self._collect()

    def end(self) -> None:
        """End all forks."""
        for number in self._status:
            _kill(number)

    def _answer(self) -> bool:
        """Answer one request; return whether there may be another."""
        header, descriptors, _, _ = socket.recv_fds(self._connection, _HEADER_BYTES, _DESCRIPTORS)
        if not header:
            return False
        request = json.loads(_exactly(self._connection, int.from_bytes(header, "big")))
        if "kill" in request:
            if request["kill"] in self._status:
                _kill(request["kill"])
            return True
        self._fork(request, *descriptors)
        return True

    def _fork(self, request: dict[str, Any], log: int, events: int, status: int) -> None:
        server = os.getpid()
        number = os.fork()
        if number == 0:
            _become_worker(request, log, events, server)
        os.close(log)
        os.close(events)
        self._status[number] = status
        _tell(status, pid=number)

    def _collect(self) -> None:
        """Tell of the forks that have ended."""
        while self._status:
            number, code, usage = os.wait4(-1, os.WNOHANG)
            if number == 0:
                return
            status = self._status.pop(number)
            _tell(
                status,
                code=os.waitstatus_to_exitcode(code),
                cpu_s=usage.ru_utime + usage.ru_stime,
                memory=usage.ru_maxrss,
            )
            os.close(status)


def _become_worker(request: dict[str, Any], log: int, events: int, server: int) -> NoReturn:
    """Turn a fork into a worker: nothing of the server's is left to it."""
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()  # an interrupt is the caller's to handle
        _keep_priority()
        for descriptor in (1, 2):
            os.dup2(log, descriptor)
        os.dup2(events, _FIRST_FREE)
        os.closerange(_FIRST_FREE + 1, _MOST_DESCRIPTORS)
        _die_with_parent(server)
        os.environ.clear()
        os.environ.update(request["environment"])
        worker.run(Path(request["directory"]), _FIRST_FREE)
    finally:
        os._exit(1)


def _keep_priority() -> None:
    """Give the new session the priority of its process: Linux weighs sessions, not processes."""
    priority = os.getpriority(os.PRIO_PROCESS, 0)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(priority))


def _die_with_parent(parent: int) -> None:
    """Ask the kernel to end this process when the one that started it is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # gone before the kernel was told
        os._exit(1)


def _kill(number: int) -> None:
    try:
        os.killpg(number, signal.SIGKILL)
    except ProcessLookupError:  # not yet a group of its own
        os.kill(number, signal.SIGKILL)


def _tell(descriptor: int, **content: Any) -> None:
    with suppress(BrokenPipeError):  # nobody waits for it any more
        os.write(descriptor, json.dumps(content).encode() + b"\n")


def _exactly(connection: socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = connection.recv(count - len(parts))
        if not part:
            raise EOFError
        parts += part
    return bytes(parts)


def main() -> None:
    """Serve the socket that the command line names."""
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    server = ForkServer(socket.socket(fileno=int(sys.argv[1])))
    worker.load()
    gc.freeze()  # what is loaded stays; forks need not look through it
    try:
        server.serve()
    finally:
        server.end()


if __name__ == "__main__":
    main()
