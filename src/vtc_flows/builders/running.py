"""Run a builder here, in one process or several, and tell how far it is."""

from __future__ import annotations

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice

from vtc_flows.builders.derived import BuildReport, DerivedBuilder, Made, Work
from vtc_flows.errors import VtcFlowsError

#: Told how many groups are done, of how many.
Listener = Callable[[int, int], None]

#: Groups that a process is given at a time, and such lots that wait for each process.
_LOT = 8
_LOTS_WAITING = 4


def build(
    builder: DerivedBuilder, *, workers: int = 1, listener: Listener | None = None
) -> BuildReport:
    """
    Run a builder.

    Unlike maggma's `Builder.run` it leaves logging alone, and unlike `mrun -n` it makes no new
    builder for each item. What is written is the same.

    Parameters
    ----------
    builder : DerivedBuilder
    workers : int
        Processes that derive; with 1 everything happens in this one.
    listener : callable, optional
        Told after each chunk that is written.

    Returns
    -------
    BuildReport

    Raises
    ------
    VtcFlowsError
        If a process was killed.
    """
    builder.connect()
    try:
        items = builder.get_items()
        n_done = 0
        made = (
            map(builder.process_item, items) if workers == 1 else _pooled(builder, items, workers)
        )
        for chunk in _chunks(made, builder.chunk_size):
            builder.update_targets(chunk)
            n_done += len(chunk)
            if listener is not None:
                listener(n_done, builder.total or n_done)
    finally:
        builder.finalize()
    return builder.report


def _chunks(made: Iterator[Made], size: int) -> Iterator[list[Made]]:
    while chunk := list(islice(made, size)):
        yield chunk


def _pooled(builder: DerivedBuilder, items: Iterator[Work], workers: int) -> Iterator[Made]:
    """Yield what processes derive, in the order of the items; read no more than they need."""
    context = multiprocessing.get_context("spawn")  # connections do not outlive a fork
    with _pool(ProcessPoolExecutor(workers, context, _enter, (builder,))) as executor:
        waiting: deque[Future[list[Made]]] = deque()
        try:
            while lot := list(islice(items, _LOT)):
                waiting.append(executor.submit(_derive, lot))
                if len(waiting) >= _LOTS_WAITING * workers:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        except BrokenProcessPool:
            raise VtcFlowsError(
                "a process that derives was killed, perhaps for want of memory: what was written "
                "is whole; run again, with fewer workers, to go on from there"
            ) from None


@contextmanager
def _pool(executor: ProcessPoolExecutor) -> Iterator[ProcessPoolExecutor]:
    try:
        yield executor
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


#: The builder of a process that derives.
_ours: list[DerivedBuilder] = []


def _enter(builder: DerivedBuilder) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides the end
    _ours[:] = [builder]


def _derive(lot: Sequence[Work]) -> list[Made]:
    return [_ours[0].process_item(item) for item in lot]
