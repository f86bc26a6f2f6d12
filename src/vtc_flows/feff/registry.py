"""Engines by name."""

from __future__ import annotations

import importlib
import re

from vtc_flows.errors import ConfigurationError
from vtc_flows.feff.engine import Engine
from vtc_flows.settings import VtcSettings

#: Engines of this package: name and the factory that makes one from settings.
BUILT_IN = {
    "feff8l": "vtc_flows.feff.feff8l:from_settings",
    "feff10": "vtc_flows.feff.feff10:from_settings",
}

_NAME = re.compile(r"[A-Za-z0-9_.]+")
_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def current_revision(name: str) -> int:
    """
    Return the revision of an engine: what its module calls ``REVISION``, 1 where there is none.

    Parameters
    ----------
    name : str
        As of `create_engine`; the files of its program need not be on this machine.

    Examples
    --------
    >>> current_revision("feff8l") > 1, current_revision("no_such_module:make")
    (True, 1)
    """
    module_name, _, _ = BUILT_IN.get(name, name).partition(":")
    try:
        return int(getattr(importlib.import_module(module_name), "REVISION", 1))
    except (ImportError, ValueError):  # a worker has it, or nobody
        return 1


def create_engine(name: str, settings: VtcSettings) -> Engine:
    """
    Return an engine.

    Parameters
    ----------
    name : str
        A key of `BUILT_IN`, or the place ``package.module:factory`` of a function that takes
        settings and returns an engine; so an engine may live in another package.
    settings : VtcSettings
        Where its files are, how long it may take.

    Raises
    ------
    ConfigurationError
        If there is no such engine, or its files are missing.
    """
    place = BUILT_IN.get(name, name)
    if not _IMPORT_PATH.fullmatch(place):
        raise ConfigurationError(
            f"no engine is called {name!r}: use one of {', '.join(BUILT_IN)}, or the place "
            "package.module:factory of another"
        )
    module_name, _, attribute = place.partition(":")
    try:
        factory = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(f"the engine {name!r} cannot be loaded: {error}") from error
    try:
        engine: Engine = factory(settings)
    except TypeError as error:
        raise ConfigurationError(f"{place} makes no engine: {error}") from error
    if not callable(getattr(engine, "run", None)):
        raise ConfigurationError(f"{place} makes no engine but a {type(engine).__name__}")
    called = getattr(engine, "name", None)
    if not isinstance(called, str) or not _NAME.fullmatch(called):
        raise ConfigurationError(
            f"the engine of {place} is called {called!r}, which ids cannot hold: give it a name of "
            "letters, digits, points and _"
        )
    return engine
