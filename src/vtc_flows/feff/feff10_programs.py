"""Find FEFF10's programs on this machine, and run one of them in a folder."""

from __future__ import annotations

import hashlib
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from vtc_flows.errors import (
    ConfigurationError,
    EngineCrashError,
    EngineNotFoundError,
    EngineOutputError,
    EngineTimeoutError,
    StorageError,
)
from vtc_flows.feff import launch
from vtc_flows.feff.feff10_output import (
    CHARGE_FILE,
    CONFIGURATION_FILE,
    ERROR_FILE,
    FINE_STRUCTURE_FILE,
    PHASE_FILE,
    POT_FILE,
    POT_LOG,
    SCF_FILE,
    SECTION_FILE,
    XMU_FILE,
    require_no_error_file,
)
from vtc_flows.feff.processes import ONE_THREAD, children_cpu_s
from vtc_flows.settings import VtcSettings

#: What a spectrum needs, in the order in which it runs.
PROGRAMS = (
    "rdinp",
    "atomic",
    "pot",
    "screen",
    "opconsat",
    "xsph",
    "fms",
    "mkgtr",
    "path",
    "genfmt",
    "ff2x",
)
#: What each of them must make anew. Each goes on without a word with what an earlier one left: a
#: Green's function of another radius, or none of one polarization.
MAKES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "rdinp": ("geom.dat", "global.inp", "pot.inp"),
        "atomic": ("apot.bin", CONFIGURATION_FILE),
        "pot": (POT_FILE, POT_LOG, SCF_FILE, CHARGE_FILE),
        "xsph": (PHASE_FILE, SECTION_FILE),
        "fms": ("gg.bin",),
        "mkgtr": (FINE_STRUCTURE_FILE,),
        "path": ("paths.dat",),
        "genfmt": ("feff.bin", "list.dat"),
        "ff2x": (XMU_FILE,),
    }
)
#: Programs whose files are read right after them, which says more than that they are missing.
_READ_AT_ONCE = frozenset({"pot", "ff2x"})
#: Those that take long enough to be worth a launcher for several processes.
PARALLEL = frozenset({"pot", "xsph", "fms"})
#: Names of the script that runs all programs; the folders beside it that may hold them.
_SCRIPTS, _BESIDE = ("feff10", "feff", "feffmpi"), ("", "Seq", "MPI")

INSTALL_HINT = (
    "build FEFF10 (https://github.com/times-software/feff10) and name the folder of its programs "
    "(rdinp, pot, xsph ...; bin/Seq of its source tree) in VTC_FEFF10_DIRECTORY, or put it on PATH"
)

_LOG_TAIL_LINES = 12
_POLL_S = 0.25
_END_GRACE_S = 30.0
_SMALL_STACK_BYTES = 256 << 20
_FULL_DISK_BYTES = 64 << 10
#: What the system says, and a Fortran program repeats, where a file cannot be written.
_STORAGE_WORDS = {
    "No space left on device": "free some and run again",
    "Disk quota exceeded": "free some and run again",
    "File too large": "allow larger files (`ulimit -f unlimited`, or the limits of the queue)",
    "Read-only file system": "choose another folder (VTC_SCRATCH_DIRECTORY)",
    "Input/output error": "the disk or the network below it fails",
    "Stale file handle": "the folder was removed, or the network below it fails",
}
_ENVIRONMENT = {
    **ONE_THREAD,
    "GFORTRAN_UNBUFFERED_PRECONNECTED": "y",  # so that its iterations are seen as they come
}


@dataclass(frozen=True)
class Feff10Installation:
    """
    The programs of one FEFF10.

    Attributes
    ----------
    programs : mapping of str to Path
        One for each of `PROGRAMS`.
    origin : str
        Where they were found: "settings" or "path".
    sha256 : str
        Digest over all of them: FEFF10 states the version 10.0.0 whatever its sources are.
    """

    programs: MappingProxyType[str, Path]
    origin: str
    sha256: str

    @property
    def folder(self) -> Path:
        """Where the programs are."""
        return self.programs["pot"].parent


def find_feff10(settings: VtcSettings) -> Feff10Installation:
    """
    Return the FEFF10 to use: that of the settings, or the first on PATH.

    Raises
    ------
    EngineNotFoundError
        If there is none; says how to get it.
    ConfigurationError
        If the folder named in the settings does not hold all programs; says which are missing.
    """
    named = settings.feff10_directory
    if named is not None:
        missing = [name for name in PROGRAMS if not _executable(named / name)]
        if missing:
            raise ConfigurationError(
                f"feff10_directory is {named}, which has no program {', '.join(missing)} that can "
                "be executed: name the folder of FEFF10's programs in VTC_FEFF10_DIRECTORY"
            )
        return _installation(named, "settings")
    for folder in _folders_on_path():
        if all(_executable(folder / name) for name in PROGRAMS):
            return _installation(folder, "path")
    raise EngineNotFoundError(f"FEFF10 was not found on this machine: {INSTALL_HINT}")


def _folders_on_path() -> Iterator[Path]:
    """Yield folders of PATH, and those beside FEFF10's script where it is on PATH."""
    for entry in os.get_exec_path():
        yield Path(entry)
    for script in _SCRIPTS:
        found = shutil.which(script)
        if found:
            for name in _BESIDE:
                yield Path(found).resolve().parent / name


def _executable(path: Path) -> bool:
    return path.is_file() and os.access(path, os.X_OK)


def _installation(folder: Path, origin: str) -> Feff10Installation:
    programs = {name: (folder / name).absolute() for name in PROGRAMS}
    digest = hashlib.sha256()
    for path in programs.values():
        digest.update(hashlib.sha256(path.read_bytes()).digest())
    return Feff10Installation(MappingProxyType(programs), origin, digest.hexdigest())


class ProgramRunner:
    """
    Run FEFF10's programs one after the other in a folder, within one time limit.

    Parameters
    ----------
    installation : Feff10Installation
        The programs.
    folder : Path
        Where they run and leave their files.
    timeout_s : float
        Wall-clock seconds for all of them together.
    launcher : str
        What starts the parallel ones, e.g. ``mpirun -n 4``; nothing for one process.

    Attributes
    ----------
    cpu_s : dict of str to float
        CPU seconds of each program so far.
    last_log : Path, optional
        What the last program printed.
    """

    def __init__(
        self,
        installation: Feff10Installation,
        folder: Path,
        *,
        timeout_s: float,
        launcher: str = "",
    ) -> None:
        self._installation = installation
        self._folder = folder
        self._timeout_s = timeout_s
        self._deadline = time.monotonic() + timeout_s
        self._launcher = tuple(shlex.split(launcher))
        self.cpu_s: dict[str, float] = {}
        self.last_log: Path | None = None

    def run(self, program: str, watch: Callable[[str], None] | None = None) -> None:
        """
        Run a program to its end, and see that it made its files.

        Parameters
        ----------
        program : str
            One of `PROGRAMS`.
        watch : callable, optional
            Called with all that the program has printed so far, now and then.

        Raises
        ------
        EngineTimeoutError
            If the time limit passes.
        EngineCrashError
            If it cannot be started, is killed, fails, or leaves its error file.
        EngineOutputError
            If it left a file out.
        StorageError
            If its log cannot be written or the disk is full.
        """
        self.last_log = log = self._folder / f"{program}.log"
        before = children_cpu_s()
        try:
            for name in (ERROR_FILE, *MAKES.get(program, ())):
                (self._folder / name).unlink(missing_ok=True)
            with log.open("wb") as stream:
                process = subprocess.Popen(
                    self._command(program),
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=stream,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **_ENVIRONMENT},
                    start_new_session=True,  # an interrupt is ours to handle, then to pass on
                )
        except OSError as error:
            raise StorageError(
                f"{program} cannot be run in {self._folder}: {error.strerror}"
            ) from error
        try:
            self._wait(process, program, log, watch)
        finally:
            with suppress(
                ProcessLookupError, PermissionError
            ):  # what a launcher left behind ends with it
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(_END_GRACE_S)
            spent = children_cpu_s() - before
            self.cpu_s[program] = self.cpu_s.get(program, 0.0) + spent
        self._judge(program, process.returncode, log)

    def _command(self, program: str) -> list[str]:
        launcher = self._launcher if program in PARALLEL else ()
        path = str(self._installation.programs[program])
        start = [sys.executable, "-I", "-S", launch.__file__, str(os.getpid())]
        return [*start, *launcher, path]

    def _wait(
        self,
        process: subprocess.Popen[bytes],
        program: str,
        log: Path,
        watch: Callable[[str], None] | None,
    ) -> None:
        while True:
            left = self._deadline - time.monotonic()
            if left <= 0:
                raise EngineTimeoutError(
                    f"the engine was stopped after {self._timeout_s:g} s, in FEFF10's {program}: "
                    "raise the time limit per site or ask for fewer atoms",
                    log_tail=log_tail(log),
                )
            try:
                process.wait(min(left, _POLL_S))
            except subprocess.TimeoutExpired:
                if watch is not None:
                    watch(_read(log))
                continue
            return

    def _judge(self, program: str, code: int, log: Path) -> None:
        """Refuse an end that is none; an exit code of 0 alone proves nothing."""
        tail = log_tail(log)
        require_space(self._folder, tail)
        if code in (launch.NOT_FOUND, launch.CANNOT_EXECUTE):
            started = " ".join(self._command(program)[5:])
            raise EngineCrashError(
                f"FEFF10's {program} cannot be started ({started})", reason="program_missing"
            )
        if code == -signal.SIGXFSZ:
            raise StorageError(
                f"FEFF10's {program} cannot write so large a file in {self._folder}: allow larger "
                "ones (`ulimit -f unlimited`, or the limits of the queue)"
            )
        if code < 0:
            raise _signalled(program, -code, tail)
        if code:
            raise EngineCrashError(f"FEFF10's {program} ended with code {code}", log_tail=tail)
        try:
            require_no_error_file(self._folder, program, tail)
        except EngineCrashError as error:
            raise EngineCrashError(error.message, log_tail=tail, reason=error.reason) from None
        if program not in _READ_AT_ONCE:
            for name in MAKES.get(program, ()):
                self._require(self._folder / name, program, tail)

    def _require(self, path: Path, program: str, tail: str) -> None:
        if not path.exists():
            raise EngineOutputError(
                f"FEFF10's {program} left no {path.name}", log_tail=tail, reason="output_missing"
            )
        if not path.stat().st_size:
            raise EngineOutputError(
                f"FEFF10's {program} left an empty {path.name}",
                log_tail=tail,
                reason="output_truncated",
            )


def require_space(folder: Path, said: str = "") -> None:
    """
    Refuse to go on where the disk is full.

    Raises
    ------
    StorageError
        If a program said so, or nothing can be written any more.
    """
    for words, advice in _STORAGE_WORDS.items():
        if words in said:
            raise StorageError(f"FEFF10 cannot write in {folder} ({words}): {advice}")
    if shutil.disk_usage(folder).free < _FULL_DISK_BYTES:
        raise StorageError(f"no space left on the disk of {folder}: free some and run again")


def log_tail(log: Path) -> str:
    """Return the last lines of a program's log."""
    lines = [line.rstrip() for line in _read(log).splitlines() if line.strip()]
    return "\n".join(lines[-_LOG_TAIL_LINES:])


def _read(log: Path) -> str:
    try:
        return log.read_text(encoding="latin-1")
    except OSError:
        return ""


def _signalled(program: str, number: int, tail: str) -> EngineCrashError:
    name = signal.Signals(number).name
    if number in (signal.SIGKILL, signal.SIGTERM):
        return EngineCrashError(
            f"FEFF10's {program} was ended from outside by {name}, perhaps for want of memory",
            log_tail=tail,
            reason="killed",
        )
    _, hard = resource.getrlimit(resource.RLIMIT_STACK)
    if number == signal.SIGSEGV and 0 <= hard < _SMALL_STACK_BYTES:
        return EngineCrashError(
            f"FEFF10's {program} was ended by {name} with a stack of at most {hard >> 10} kB: "
            "allow more (`ulimit -Hs unlimited` before the run, or the limits of the queue)",
            log_tail=tail,
            reason="stack_limit",
        )
    return EngineCrashError(f"FEFF10's {program} was ended by {name}", log_tail=tail)
