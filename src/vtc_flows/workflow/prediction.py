"""
From crystals to predictions: any number of them, in little memory, in one process or several.

Features are computed crystal by crystal, by processes if there are to be several; the model is then
asked for many rows at once, because asking costs a forest more than answering.
"""

from __future__ import annotations

import math
import multiprocessing
import signal
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

from pymatgen.core.structure import Structure

from vtc_flows.crystal.prototypes import prototype
from vtc_flows.crystal.sites import absorbers
from vtc_flows.crystal.sources import ACCEPTED_KINDS, StructureRecord
from vtc_flows.errors import InputError, VtcFlowsError
from vtc_flows.learn.matrix import feature_matrix
from vtc_flows.learn.model import TrainedModel
from vtc_flows.schemas import SamsSettings
from vtc_flows.schemas.dataset import FEATURES
from vtc_flows.schemas.derived import FeatureId
from vtc_flows.schemas.models import Interval, PredictionDoc
from vtc_flows.workflow.analysis import feature_records
from vtc_flows.workflow.materials import OnProblem

#: Levels of the intervals, where nothing else is asked for.
LEVELS = (0.5, 0.8, 0.9)

#: Rows that the model is asked for at a time.
BATCH = 256
#: Crystals that a process is given at a time, and such lots that wait for each process.
_LOT = 8
_LOTS_WAITING = 3
_N_SPACE_GROUPS = 230
_SUFFIXES = (".cif", ".vasp", ".poscar", ".json", ".jsonl")


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
        By the names of `vtc_flows.schemas.dataset.FEATURES`.
    """

    record_id: str
    material_id: str
    element: str
    formula: str
    prototype: str
    space_group_number: int
    features: Mapping[str, float | None]


@dataclass(frozen=True)
class _Problem:
    source: str
    error: VtcFlowsError


_Found = FeatureRow | _Problem


def predict_structures(
    structures: Iterable[StructureRecord | Structure],
    model: TrainedModel,
    *,
    elements: Sequence[str] | None = None,
    levels: Sequence[float] = LEVELS,
    workers: int = 1,
    on_problem: OnProblem | None = None,
) -> Iterator[PredictionDoc]:
    """
    Predict crystals, one after the other, whatever their number.

    Parameters
    ----------
    structures : iterable of StructureRecord or Structure
        Taken as they are needed. A bare structure is called by its formula.
    model : TrainedModel
        It says with which moments the features are made.
    elements : sequence of str, optional
        Absorbing elements; all 3d metals of a crystal if not given. Crystals without any of them
        are problems.
    levels : sequence of float
        Of the intervals.
    workers : int
        Processes that compute features; with 1 everything happens in this one.
    on_problem : callable, optional
        Told of each crystal that cannot be used, with its source; without it the error is raised.

    Yields
    ------
    PredictionDoc
        In the order of the structures, for each of their elements; the same for any number of
        workers.

    Raises
    ------
    StructureError
        If a crystal cannot be used, and nobody is told of problems.
    InputError
        If the model carries no interval of a level.
    VtcFlowsError
        If a process was killed.
    """
    settings = model.card.dataset.sams_settings
    job = _Job(settings, tuple(elements) if elements else None)
    records = (_as_record(each) for each in structures)
    found = map(job.rows, records) if workers == 1 else _pooled(job, records, workers)
    rows = _rows(chain.from_iterable(found), on_problem or _raise)
    while batch := list(islice(rows, BATCH)):
        yield from predict_rows(batch, model, levels=levels)


def predict_rows(
    rows: Sequence[FeatureRow], model: TrainedModel, *, levels: Sequence[float] = LEVELS
) -> list[PredictionDoc]:
    """
    Predict rows of features, all at once.

    Parameters
    ----------
    rows : sequence of FeatureRow
    model : TrainedModel
    levels : sequence of float
        Of the intervals.
    """
    card = model.card
    if list(card.features) != list(FEATURES):
        raise InputError(
            f"the model {card.model_id} takes other features than this version makes: train it anew"
        )
    found = model.predict(
        feature_matrix(row.features for row in rows), [row.element for row in rows], levels
    )
    return [
        PredictionDoc(
            record_id=row.record_id,
            model_id=card.model_id,
            material_id=row.material_id,
            element=row.element,
            formula=row.formula,
            prototype=row.prototype,
            space_group_number=row.space_group_number,
            target=card.target,
            value=float(found.value[k]),
            unit=card.target_unit,
            intervals=[
                Interval(level=p, low=float(found.low[p][k]), high=float(found.high[p][k]))
                for p in sorted(levels)
            ],
            in_domain=not found.reasons[k],
            domain_reasons=found.reasons[k],
            distance=float(found.distance[k]),
            features=dict(row.features),
        )
        for k, row in enumerate(rows)
    ]


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
        number = round(each.features.n_sg * _N_SPACE_GROUPS)
        name = FeatureId(record.material_id, each.element, exponent, cutoff)
        rows.append(
            FeatureRow(
                record_id=str(name),
                material_id=record.material_id,
                element=each.element,
                formula=structure.composition.reduced_formula,
                prototype=prototype(structure.composition, number),
                space_group_number=number,
                features={key: _finite(getattr(each.features, key)) for key in FEATURES},
            )
        )
    return rows


def files_of(specs: Iterable[str]) -> Iterator[str]:
    """
    Yield files and ids, and in the place of a folder the files of structures in it, by name.

    Raises
    ------
    InputError
        If a folder holds none.

    Examples
    --------
    >>> list(files_of(["a.cif", "mp-2657"]))
    ['a.cif', 'mp-2657']
    """
    for spec in specs:
        folder = Path(spec)
        if not folder.is_dir():
            yield spec
            continue
        files = [str(each) for each in sorted(folder.iterdir()) if _is_structure_file(each)]
        if not files:
            raise InputError(f"{folder} holds no file of structures. Accepted: {ACCEPTED_KINDS}")
        yield from files


def _is_structure_file(path: Path) -> bool:
    name = path.name.removesuffix(".gz")
    known = name.lower().endswith(_SUFFIXES) or name.upper().startswith(("POSCAR", "CONTCAR"))
    return known and path.is_file()


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
