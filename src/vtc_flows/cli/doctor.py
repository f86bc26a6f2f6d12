"""`vtc doctor`: what is here, and what is missing."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata

import click
import numpy as np

from vtc_flows import __version__
from vtc_flows.cli.engine import described, described_feff10, found_feff10
from vtc_flows.cli.lazy import BAD_INPUT
from vtc_flows.errors import ConfigurationError, EngineNotFoundError
from vtc_flows.feff.discovery import INSTALL_HINT, list_installations
from vtc_flows.settings import VtcSettings, config_file, load_settings

_PACKAGES = ("numpy", "scipy", "pymatgen", "spglib", "pydantic", "jobflow", "maggma", "mp-api")
_INDENT = 19


@click.command()
def doctor() -> None:
    """Say what is here and what is missing; exit code 2 if no engine is usable."""
    settings = load_settings()
    _say("vtc-flows", __version__)
    _say("python", f"{platform.python_version()} ({sys.executable})")
    _say("machine", f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs")
    _say("packages", ", ".join(f"{name} {metadata.version(name)}" for name in _PACKAGES))
    _say("linear algebra", _blas())
    where = config_file()
    _say("settings file", f"{where}{'' if where.is_file() else ' (none)'}")
    _say("data folder", str(settings.data_directory))
    _say("Materials Project", "key configured" if settings.mp_api_key else "no key (MP_API_KEY)")
    _say("job store", _job_store())
    if not _say_engines(settings):
        raise click.exceptions.Exit(BAD_INPUT)


def _say_engines(settings: VtcSettings) -> bool:
    """Print the engines; return whether there is one to use."""
    usable = _say_feff8l(settings)
    return _say_feff10(settings) or usable


def _say_feff8l(settings: VtcSettings) -> bool:
    try:
        found = list_installations(settings)
    except ConfigurationError as error:
        _say("engine feff8l", f"problem: {error}")
        return False
    for each in found:
        _say("engine feff8l", _indented(described(each)))
    if not found:
        _say("engine feff8l", f"missing: {INSTALL_HINT}")
    return bool(found)


def _say_feff10(settings: VtcSettings) -> bool:
    try:
        found = found_feff10(settings)
    except ConfigurationError as error:
        _say("engine feff10", f"problem: {error}")
        return False
    if isinstance(found, EngineNotFoundError):
        _say("engine feff10", f"missing (optional): {found}")
        return False
    _say("engine feff10", _indented(described_feff10(found)))
    return True


def _indented(text: str) -> str:
    return text.replace("\n    ", f"\n{'':<{_INDENT}}")


def _blas() -> str:
    build = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"{build['name']} {build['version']}"


def _job_store() -> str:
    """Return where jobflow's own settings put results; `vtc run` itself needs no database."""
    from jobflow import SETTINGS

    store = SETTINGS.JOB_STORE
    extra = ", ".join(store.as_dict()["additional_stores"]) or "none"
    return f"{store.docs_store.__class__.__name__}, additional stores: {extra}"


def _say(what: str, value: str) -> None:
    click.echo(f"{what + ':':<{_INDENT}}{value}")
