"""How an engine tells how far it has come."""

from __future__ import annotations

from collections.abc import Callable

#: ``progress(stage, done, total)``; the stages are "scf", "phases" and "fms".
Progress = Callable[[str, int, int], None]


def silent(stage: str, done: int, total: int) -> None:
    """Report nothing."""
