"""Engines by name."""

from __future__ import annotations

import importlib
import re

from vtc_flows.errors import ConfigurationError
from vtc_flows.feff.discovery import find_feff8l
from vtc_flows.feff.engine import Engine
from vtc_flows.feff.feff8l import Feff8lEngine
from vtc_flows.settings import VtcSettings

#: Engines of this package: name and the factory that makes one from settings.
BUILT_IN = {"feff8l": "vtc_flows.feff.registry:feff8l"}

_IMPORT_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


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
    return engine


def feff8l(settings: VtcSettings) -> Engine:
    """Return the engine ``feff8l`` with the FEFF 8.5L of this machine."""
    return Feff8lEngine(
        find_feff8l(settings),
        route=settings.feff8l_route,
        timeout_s=settings.site_timeout_s,
        scratch_directory=settings.scratch_directory,
        keep_scratch=settings.keep_scratch,
    )
