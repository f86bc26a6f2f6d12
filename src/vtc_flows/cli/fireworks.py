"""`vtc lpad`, `vtc rlaunch`, `vtc qlaunch`: FireWorks' commands on the database of the settings."""

from __future__ import annotations

import functools
import importlib
import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any

import click
from pydantic import SecretStr

from vtc_flows.cli.lazy import printable
from vtc_flows.cli.queueing import refusals_told
from vtc_flows.errors import ConfigurationError, StorageError
from vtc_flows.settings import VtcSettings, load_settings

_CONTEXT = {"ignore_unknown_options": True, "help_option_names": []}
_SCRATCH = "vtc-worker"
_PATIENCE_S = 300.0  # so long does a worker wait inside one operation of the database
_LONGEST_PAUSE_S = 60.0


def _passed_on(command: Any) -> Any:
    return click.argument("arguments", nargs=-1, type=click.UNPROCESSED)(command)


@click.command(context_settings=_CONTEXT, add_help_option=False)
@_passed_on
def lpad(arguments: tuple[str, ...]) -> None:
    """Run FireWorks' lpad: look into the launchpad and change it."""
    _use_configuration()
    _exit(_call("lpad", arguments, load_settings()))


@click.command(context_settings=_CONTEXT, add_help_option=False)
@_passed_on
def qlaunch(arguments: tuple[str, ...]) -> None:
    """
    Run FireWorks' qlaunch: submit workers to a queue.

    Beyond it, where the queue refuses a job the exit code is not 0, and its words are shown.
    """
    _use_configuration()
    with refusals_told():
        code = _call("qlaunch", arguments, load_settings())
    _exit(code)


@click.command(context_settings=_CONTEXT, add_help_option=False)
@_passed_on
def rlaunch(arguments: tuple[str, ...]) -> None:
    """
    Run FireWorks' rlaunch: be a worker.

    Beyond it, such a worker uses one core, waits for a database that is away, runs again what dead
    workers have left behind, and leaves no launch folders.
    """
    _use_configuration()
    from vtc_flows.feff.processes import ONE_THREAD

    os.environ.update(ONE_THREAD)
    settings = load_settings()
    address = _address(settings)
    if address is not None and {"rapidfire", "multi"}.intersection(arguments):
        # once and for all: a database of this machine that is away for a while has no address
        patience = max(settings.database_timeout_s, _PATIENCE_S)
        known = {"database_uri": SecretStr(address), "database_timeout_s": patience}
        _exit(_work(arguments, settings.model_copy(update=known)))
    else:
        _exit(_call("rlaunch", arguments, settings))


def _work(arguments: Sequence[str], settings: VtcSettings) -> int:
    """Work until there is nothing left, not even of the dead."""
    from pymongo.errors import ConnectionFailure

    pause = 1.0
    _recover(settings)
    while True:
        try:
            code = _call("rlaunch", arguments, settings)
            if not _recover(settings):
                return code
        except (ConnectionFailure, StorageError) as error:
            text = printable(str(error).partition(",")[0])
            click.echo(f"vtc: the database is away: again in {pause:.0f} s ({text})", err=True)
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_S)


def _recover(settings: VtcSettings) -> bool:
    """Let be run again what dead workers have left; say whether there was anything."""
    from vtc_flows.stores.connection import database_errors, open_database
    from vtc_flows.workflow.launchpad import open_launchpad
    from vtc_flows.workflow.lost import recover_lost

    launchpad = open_launchpad(settings)
    try:
        with database_errors(open_database(settings)):
            return bool(recover_lost(launchpad))
    finally:
        launchpad.connection.close()


def _call(name: str, arguments: Sequence[str], settings: VtcSettings) -> int:
    """Call a command of FireWorks as if its files named the database of the settings."""
    module: Any = importlib.import_module(f"fireworks.scripts.{name}_run")
    if _address(settings) is not None:
        module.LaunchPad = _launchpad_of(settings)
    if name == "rlaunch":
        for launch in ("rapidfire", "launch_multiprocess"):
            setattr(module, launch, _in_launch_folder(getattr(module, launch), settings))
    try:
        code: int = getattr(module, name)(list(arguments)) or 0
    except FileNotFoundError as error:
        raise ConfigurationError(f"{name}: {error}") from error
    return code


def _launchpad_of(settings: VtcSettings) -> Any:
    """Return what stands for FireWorks' class in its command: it makes the one launchpad."""
    from vtc_flows.workflow.launchpad import open_launchpad
    from vtc_flows.workflow.lost import WatchfulLaunchPad

    class Configured:
        def __new__(cls, *_: Any, strm_lvl: str = "INFO", **__: Any) -> Any:
            return open_launchpad(settings, log_level=strm_lvl, kind=WatchfulLaunchPad)

        @staticmethod
        def from_file(*_: Any) -> Any:
            return open_launchpad(settings, log_level="INFO", kind=WatchfulLaunchPad)

    return Configured


def _address(settings: VtcSettings) -> str | None:
    """
    Return the database's address, or None where FireWorks' own files name one.

    Raises
    ------
    ConfigurationError
        If there is neither: FireWorks would take whatever listens on its default port.
    """
    from fireworks.fw_config import LAUNCHPAD_LOC

    from vtc_flows.stores.connection import database_uri

    try:
        return database_uri(settings)
    except ConfigurationError:
        if LAUNCHPAD_LOC is None:
            raise
        return None


def _use_configuration() -> None:
    """
    Give FireWorks our settings where the user has none.

    What it takes for granted is hours, as before a dead worker is noticed. It reads its settings
    when it is imported.
    """
    places = (Path.cwd(), Path.home() / ".fireworks")
    if "FW_CONFIG_FILE" in os.environ or any(
        (place / "FW_config.yaml").exists() for place in places
    ):
        return
    ours = resources.files("vtc_flows.workflow") / "templates" / "worker.yaml"
    os.environ["FW_CONFIG_FILE"] = str(ours)


def _in_launch_folder(launch: Callable[..., Any], settings: VtcSettings) -> Callable[..., Any]:
    """Let a function of FireWorks work in a folder that goes when it ends."""

    @functools.wraps(launch)
    def inside(*arguments: Any, **options: Any) -> Any:
        with _launch_folder(settings):
            return launch(*arguments, **options)

    return inside if not hasattr(launch, "__wrapped__") else launch


@contextmanager
def _launch_folder(settings: VtcSettings) -> Iterator[None]:
    """Work in a folder that goes when the worker goes, and remove those of dead ones."""
    base = settings.scratch_directory or Path(tempfile.gettempdir())
    base.mkdir(parents=True, exist_ok=True)
    here = f"{_SCRATCH}-{socket.gethostname()}-{os.getuid()}-"
    for old in base.glob(f"{here}*"):
        if not Path(f"/proc/{old.name.rpartition('-')[2]}").exists():
            shutil.rmtree(old, ignore_errors=True)
    folder = base / f"{here}{os.getpid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        shutil.rmtree(folder, ignore_errors=True)


def _exit(code: int) -> None:
    sys.stdout.flush()
    if code:
        raise click.exceptions.Exit(code)
