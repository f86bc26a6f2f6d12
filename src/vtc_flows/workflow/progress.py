"""
Tell whoever listens how a site's calculation goes on.

A listener is set around a run and not handed through the jobs: jobs are data, and a function that
draws on a terminal cannot be stored with them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True)
class SiteEvent:
    """
    One step of one site.

    Attributes
    ----------
    material_id, element, site_index
        Which site.
    stage : str
        "scf", "phases", "fms" from the engine; "done", "kept" (found finished) or "failed".
    done, total : int
        How far the stage has come.
    """

    material_id: str
    element: str
    site_index: int
    stage: str
    done: int = 0
    total: int = 0


Listener = Callable[[SiteEvent], None]

_listener: ContextVar[Listener | None] = ContextVar("vtc_flows_listener", default=None)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Send the events of everything that runs inside the block to a listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def report(event: SiteEvent) -> None:
    """Send an event to the listener, if there is one."""
    listener = _listener.get()
    if listener is not None:
        listener(event)
