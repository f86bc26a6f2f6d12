"""
A real SLURM for tests: munge, slurmctld and slurmd on this machine, one node and one partition.

Everything (key, sockets, state, logs) lies in one temporary folder, the ports are free ones of the
loopback address, and the daemons run as whoever runs the tests; nothing else on the machine is
touched, an installed SLURM of its own included. ``install_slurm.sh`` installs the programs.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

PARTITION = "test"

#: The node says it has these, whatever the machine has: two jobs at a time, the third one waits.
CPUS, MEMORY_MB = 2, 16_000

_DAEMONS = ("munged", "slurmctld", "slurmd")
_COMMANDS = ("sbatch", "squeue", "scancel", "sinfo", "scontrol")
#: For what takes a second or two when the machine has nothing else to do.
_PATIENCE_S = 120.0
_POLL_S = 0.25

# NoInAddrAny: the loopback address alone. config_overrides: the node is as large as the last lines
# say, whatever the machine. linuxproc: no cgroups, which containers forbid.
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
DefMemPerCPU=1000
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=10
MailProg=/bin/true
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory={memory_mb}
PartitionName={partition} Nodes=node1 Default=YES State=UP
"""


@dataclass(frozen=True)
class SlurmNode:
    """
    A SLURM that runs.

    Attributes
    ----------
    folder : Path
        Its configuration, state and logs.
    environment : dict
        What SLURM's commands need in their environment to talk to it.
    version : str
        As ``slurmctld -V`` says it.
    start_s : float
        How long it took to be ready.
    """

    folder: Path
    environment: dict[str, str]
    version: str
    start_s: float

    def run(self, *command: str) -> str:
        """Return what one of SLURM's commands prints."""
        done = subprocess.run(
            command,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def listing(self) -> str:
        """Return the queue as users see it."""
        return self.run("squeue")

    def states(self) -> dict[str, str]:
        """Return the state of every job by its number, of the finished ones too."""
        lines = self.run("squeue", "--noheader", "--states=all", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def job(self, number: str) -> dict[str, str]:
        """Return what SLURM knows about a job: JobState, ExitCode, StdOut, SubmitTime and more."""
        words = self.run("scontrol", "--oneliner", "show", "job", number).split()
        return dict(word.split("=", 1) for word in words if "=" in word)

    def processes(self, number: str) -> list[int]:
        """Return the processes of a job."""
        lines = self.run("scontrol", "listpids", number).splitlines()[1:]
        return [int(line.split()[0]) for line in lines]

    def wait(self) -> dict[str, str]:
        """Wait until no job waits or runs, and return all states."""
        _wait_until(lambda: not self.run("squeue", "--noheader"), "jobs end")
        return self.states()

    def stop_starting(self) -> None:
        """Let jobs wait, as on a full machine."""
        self.run("scontrol", "update", f"PartitionName={PARTITION}", "State=DOWN")

    def go_on(self) -> None:
        """Start jobs again."""
        self.run("scontrol", "update", f"PartitionName={PARTITION}", "State=UP")

    def clear(self) -> None:
        """End all jobs."""
        self.go_on()
        self.run("scancel", f"--partition={PARTITION}")
        self.wait()


def missing_programs() -> list[str]:
    """Return the names of those programs of SLURM and munge that are not here."""
    return [name for name in (*_DAEMONS, *_COMMANDS) if _find(name) is None]


@contextmanager
def slurm_node() -> Iterator[SlurmNode]:
    """Run a SLURM; when it is left, its jobs and its daemons are gone."""
    start = time.monotonic()
    with ExitStack() as stack:
        # Not pytest's folder: the names of sockets are short (108 characters).
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vtc-slurm-")))
        _write_configuration(folder)
        environment = {"SLURM_CONF": str(folder / "slurm.conf")}
        version = subprocess.check_output([_path("slurmctld"), "-V"], text=True).strip()
        node = SlurmNode(folder, environment, version, 0.0)

        munge = stack.enter_context(_daemon(folder, "munged", *_munge_options(folder)))
        _wait_until((folder / "munge.socket").is_socket, "munge answers", munge)
        controller = stack.enter_context(_daemon(folder, "slurmctld", "-D"))
        slurmd = stack.enter_context(_daemon(folder, "slurmd", "-D"))

        def idle() -> bool:
            try:
                return node.run("sinfo", "--noheader", "--format=%T").strip() == "idle"
            except RuntimeError:  # the controller does not answer yet
                return False

        _wait_until(idle, "the node is idle", controller, slurmd)
        stack.callback(node.clear)  # jobs are no children of the daemons: they would stay
        yield SlurmNode(folder, environment, version, time.monotonic() - start)


def _write_configuration(folder: Path) -> None:
    for name in ("state", "spool"):
        (folder / name).mkdir()
    (folder / "munge.key").touch(mode=0o600)
    (folder / "munge.key").write_bytes(os.urandom(128))
    controller_port, node_port = _free_ports(2)
    text = _CONFIGURATION.format(
        folder=folder,
        host=socket.gethostname().split(".")[0],
        user=pwd.getpwuid(os.getuid()).pw_name,
        controller_port=controller_port,
        node_port=node_port,
        cpus=CPUS,
        memory_mb=MEMORY_MB,
        partition=PARTITION,
    )
    (folder / "slurm.conf").write_text(text)
    # Nothing here uses cgroups, but slurmd loads a plugin for them all the same, by default one
    # that does not start in most containers. This one starts everywhere.
    (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")


def _munge_options(folder: Path) -> list[str]:
    files = {
        "key-file": "munge.key",
        "socket": "munge.socket",
        "pid-file": "munge.pid",
        "seed-file": "munge.seed",
    }
    # --force: others cannot reach the folder, which munge takes for a mistake.
    return ["--foreground", "--force", *(f"--{key}={folder / file}" for key, file in files.items())]


@contextmanager
def _daemon(folder: Path, name: str, *options: str) -> Iterator[_Daemon]:
    log = folder / f"{name}.log"
    # Ends with this process, however that ends.
    command = [_path("setpriv"), "--pdeathsig", "TERM", _path(name), *options]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "SLURM_CONF": str(folder / "slurm.conf")},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C at the tests is not for it
        )
    try:
        yield _Daemon(process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@dataclass(frozen=True)
class _Daemon:
    process: subprocess.Popen[bytes]
    log: Path

    def report(self) -> str:
        """Return how it ended, if it did, and the end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()[-20:]
        return "\n".join((f"{self.log.name} (exit code {self.process.poll()}):", *lines))


def _wait_until(ready: Callable[[], bool], what: str, *daemons: _Daemon) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not ready():
        ended = any(daemon.process.poll() is not None for daemon in daemons)
        if ended or time.monotonic() > deadline:
            reports = "\n".join(daemon.report() for daemon in daemons)
            raise TimeoutError(f"SLURM: waited in vain until {what}\n{reports}")
        time.sleep(_POLL_S)


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]


def _find(name: str) -> str | None:
    # Daemons lie where only the PATH of an administrator leads.
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def _path(name: str) -> str:
    found = _find(name)
    if found is None:
        raise FileNotFoundError(name)
    return found
