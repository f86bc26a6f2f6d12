"""Forks of the server of this process: one for each worker (:mod:`vtc_flows.feff.fork_server`)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from vtc_flows.feff.processes import ONE_THREAD

_MIB_PER_RSS = 1 / 1024 if sys.platform == "linux" else 1 / 2**20


class ServerLostError(Exception):
    """The server is gone, and its forks with it."""


@dataclass(frozen=True)
class Ended:
    """
    How a process ended.

    Attributes
    ----------
    code : int
        Exit code; negative for the signal that ended it.
    cpu_s : float
        CPU seconds, of the processes that it started, too.
    memory_mib : float
        Most memory that it held.
    """

    code: int
    cpu_s: float
    memory_mib: float


class Fork:
    """
    A forked process.

    Parameters
    ----------
    server : Server
        Who forked it.
    status : int
        Descriptor through which its number and its end are told.
    """

    def __init__(self, server: Server, status: int) -> None:
        self._server = server
        self._status = os.fdopen(status, "rb")
        first = self._status.readline()
        self._number = int(json.loads(first)["pid"]) if first else None

    def wait(self) -> Ended:
        """
        Wait for its end.

        Raises
        ------
        ServerLostError
            If nobody can tell.
        """
        with self._status:
            last = self._status.readline()
        if not last:
            raise ServerLostError
        told = json.loads(last)
        return Ended(told["code"], told["cpu_s"], told["memory"] * _MIB_PER_RSS)

    def kill(self) -> None:
        """End it."""
        if self._number is not None:
            self._server.kill(self._number)


class Server:
    """The server that forks for one process; started when it is first needed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._connection: socket.socket | None = None

    def fork(self, directory: str, log: int, events: int) -> Fork:
        """
        Fork a worker.

        Parameters
        ----------
        directory : str
            Its run folder.
        log, events : int
            Descriptors for what it prints and what it tells.

        Raises
        ------
        ServerLostError
            If the server was lost at this moment.
        """
        status, told = os.pipe()
        try:
            request = {"directory": directory, "environment": dict(os.environ)}
            with self._lock:
                _send(self._running(), request, [log, events, told])
        except OSError:
            os.close(status)
            raise ServerLostError from None
        finally:
            os.close(told)
        return Fork(self, status)

    def kill(self, number: int) -> None:
        """End a fork."""
        with self._lock, suppress(OSError):  # all of them are gone with their server
            if self._connection is not None:
                _send(self._connection, {"kill": number}, [])

    def forget(self) -> None:
        """Leave the server to the process that started it: this one is a fork of that."""
        self._lock = threading.Lock()
        if self._connection is not None:
            self._connection.close()
        self._process = self._connection = None

    def _running(self) -> socket.socket:
        """Return the connection to a server that is there."""
        if self._connection is not None and self._process is not None:
            if self._process.poll() is None:
                return self._connection
            self._connection.close()
        here, there = socket.socketpair()
        with there:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "vtc_flows.feff.fork_server", str(there.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **ONE_THREAD},
                pass_fds=[there.fileno()],
                start_new_session=True,  # an interrupt is ours to handle, then ours to pass on
            )
        self._connection = here
        return here


def _send(connection: socket.socket, request: dict[str, Any], descriptors: list[int]) -> None:
    message = json.dumps(request).encode()
    socket.send_fds(connection, [len(message).to_bytes(4, "big")], descriptors)
    connection.sendall(message)


#: The server of this process.
SERVER = Server()
os.register_at_fork(after_in_child=SERVER.forget)
