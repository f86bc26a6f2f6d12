"""
Features of crystals as a stream: computed here or by processes, in the order of the crystals.

The processes import no more than features need; a model stays where the stream is read.
"""

from __future__ import annotations

import math
import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from pymatgen.core.structure import Structure

from vtc_flows.crystal.prototypes import names_of_kind
from vtc_flows.crystal.sites import absorbers, as_symbols
from vtc_flows.crystal.sources import StructureRecord
from vtc_flows.errors import VtcFlowsError
from vtc_flows.schemas import SamsSettings
from vtc_flows.schemas.dataset import ALL_FEATURES
from vtc_flows.schemas.derived import FeatureId
from vtc_flows.workflow.analysis import feature_records

#: Told of a crystal that cannot be used: where it comes from, and why.
OnProblem = Callable[[str, VtcFlowsError], None]

#: Crystals that a process is given at a time, and such lots that wait for each process.
_LOT = 8
_LOTS_WAITING = 3


@dataclass(frozen=True)
class FeatureRow:
    """
    What a prediction is made from, and what it is of.

    Attributes
    ----------
    record_id : str
        Name of the features.
    material_id, element, formula, prototype : str
    space_group_number : int
    features : mapping of str to float or None
        By the names of `vtc_flows.schemas.dataset.ALL_FEATURES`.
    """

    record_id: str
    material_id: str
    element: str
    formula: str
    prototype: str
    space_group_number: int
    features: Mapping[str, float | None]


def stream_features(
    structures: Iterable[StructureRecord | Structure],
    settings: SamsSettings,
    *,
    elements: Sequence[str] | None = None,
    workers: int = 1,
    on_problem: OnProblem | None = None,
) -> Iterator[FeatureRow]:
    """
    Yield what predictions are made from, crystal by crystal.

    Parameters
    ----------
    structures : iterable of StructureRecord or Structure
        Taken as they are needed. A bare structure is called by its formula.
    settings : SamsSettings
        With the moments' exponent and cutoff.
    elements, workers, on_problem
        See `vtc_flows.workflow.prediction.predict_structures`.
    """
    job = _Job(settings, tuple(as_symbols(elements)) if elements else None)
    records = (_as_record(each) for each in structures)
    found = map(job.rows, records) if workers == 1 else _pooled(job, records, workers)
    return _rows(chain.from_iterable(found), on_problem or _raise)


def feature_rows(
    record: StructureRecord, elements: Sequence[str] | None, settings: SamsSettings
) -> list[FeatureRow]:
    """
    Compute what predictions of a crystal are made from.

    Parameters
    ----------
    record : StructureRecord
    elements : sequence of str, optional
        Those of them that the crystal holds; all 3d metals if not given.
    settings : SamsSettings
        With the moments' exponent and cutoff.

    Raises
    ------
    StructureError
        If the crystal cannot be used, or holds none of the elements.
    """
    structure = record.structure
    there = absorbers(structure)
    chosen = [each for each in there if elements is None or each in elements]
    if elements and not chosen:
        chosen = list(elements[:1])  # to be refused, in the words of whoever refuses it
    documents = feature_records(
        structure, chosen, record.material_id, settings, source=record.source
    )
    exponent, cutoff = settings.moment_exponent, settings.moment_cutoff_angstrom
    rows = []
    for each in documents:
        name = FeatureId(record.material_id, each.element, exponent, cutoff)
        rows.append(
            FeatureRow(
                record_id=str(name),
                material_id=record.material_id,
                element=each.element,
                **names_of_kind(structure, each.features.n_sg),
                features={
                    key: _finite(value)
                    for key, value in each.features.numbers().items()
                    if key in ALL_FEATURES
                },
            )
        )
    return rows


@dataclass(frozen=True)
class _Problem:
    source: str
    error: VtcFlowsError


_Found = FeatureRow | _Problem


@dataclass(frozen=True)
class _Job:
    """What is done with each crystal."""

    settings: SamsSettings
    elements: tuple[str, ...] | None

    def rows(self, record: StructureRecord) -> list[_Found]:
        try:
            return list(feature_rows(record, self.elements, self.settings))
        except VtcFlowsError as error:
            return [_Problem(record.source, error)]
        except Exception as error:  # one crystal of ten thousand: the others are still wanted
            text = f"{record.source}: unexpected {type(error).__name__}: {error}"
            return [_Problem(record.source, VtcFlowsError(text))]


def _rows(found: Iterable[_Found], on_problem: OnProblem) -> Iterator[FeatureRow]:
    for each in found:
        if isinstance(each, _Problem):
            on_problem(each.source, each.error)
        else:
            yield each


def _pooled(job: _Job, records: Iterator[StructureRecord], workers: int) -> Iterator[list[_Found]]:
    """Yield what processes find, in the order of the crystals; read no more than they need."""
    context = multiprocessing.get_context("spawn")  # threads and connections do not outlive a fork
    executor = ProcessPoolExecutor(workers, context, _enter, (job,))
    waiting: deque[Future[list[list[_Found]]]] = deque()
    try:
        while lot := [_plain(each) for each in islice(records, _LOT)]:
            waiting.append(executor.submit(_work, lot))
            if len(waiting) >= _LOTS_WAITING * workers:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()
    except BrokenProcessPool:
        raise VtcFlowsError(
            "a process that computes features was killed, perhaps for want of memory: run again, "
            "with fewer workers; what was written to a file is not computed again"
        ) from None
    finally:
        executor.shutdown(wait=True, cancel_futures=True)


#: The job of a process that computes features.
_ours: list[_Job] = []


def _enter(job: _Job) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the main process decides the end
    _ours[:] = [job]


def _work(lot: Sequence[StructureRecord]) -> list[list[_Found]]:
    return [_ours[0].rows(record) for record in lot]


def _plain(record: StructureRecord) -> StructureRecord:
    """Leave out what features do not need, and what may not go from process to process."""
    return StructureRecord(record.material_id, record.structure, record.source, record.label)


def _as_record(given: StructureRecord | Structure) -> StructureRecord:
    if isinstance(given, StructureRecord):
        return given
    label = given.composition.reduced_formula
    return StructureRecord(label, given, label, label)


def _raise(source: str, error: VtcFlowsError) -> None:
    raise error


def _finite(value: Any) -> float | None:
    return None if value is None or not math.isfinite(value) else float(value)
