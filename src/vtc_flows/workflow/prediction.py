"""
From crystals to predictions: any number of them, in little memory, in one process or several.

The model is asked for many rows at once: asking costs a forest more than answering.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

from pymatgen.core.structure import Structure

from vtc_flows.crystal.sources import ACCEPTED_KINDS, StructureRecord
from vtc_flows.errors import InputError
from vtc_flows.learn.matrix import feature_matrix
from vtc_flows.learn.model import TrainedModel
from vtc_flows.schemas.dataset import ALL_FEATURES
from vtc_flows.schemas.models import Interval, PredictionDoc
from vtc_flows.workflow.feature_stream import FeatureRow, OnProblem, stream_features

#: Levels of the intervals, where nothing else is asked for.
LEVELS = (0.5, 0.8, 0.9)

#: Rows that the model is asked for at a time.
BATCH = 256
_SUFFIXES = (".cif", ".vasp", ".poscar", ".json", ".jsonl")


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
    rows = stream_features(
        structures,
        model.card.dataset.sams_settings,
        elements=elements,
        workers=workers,
        on_problem=on_problem,
    )
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
    if unknown := sorted(set(card.features) - set(ALL_FEATURES)):
        raise InputError(
            f"the model {card.model_id} takes {', '.join(unknown)}, which this version does not "
            "make: train it anew"
        )
    found = model.predict(
        feature_matrix((row.features for row in rows), card.features),
        [row.element for row in rows],
        levels,
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
            features={name: row.features[name] for name in card.features},
        )
        for k, row in enumerate(rows)
    ]


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
