"""From a table to a model: search, refit, calibration, and the card that says how good it is."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from vtc_flows import __version__
from vtc_flows.errors import InputError, StorageError
from vtc_flows.learn import domain as domains
from vtc_flows.learn import evaluation, intervals
from vtc_flows.learn.forest import (
    PAPER_BEST,
    Forest,
    Parameters,
    draws,
    fit,
    fit_errors,
    once,
    predicted,
)
from vtc_flows.learn.matrix import LearningData, learning_data
from vtc_flows.learn.model import TrainedModel
from vtc_flows.learn.model_file import COMPRESSION
from vtc_flows.learn.split import split
from vtc_flows.learn.tables import column_units
from vtc_flows.learn.warning_signs import warning_signs
from vtc_flows.schemas import short_hash, utc_now
from vtc_flows.schemas.models import (
    DatasetRef,
    DomainDoc,
    ElementScores,
    IntervalDoc,
    ModelCard,
    ModelFile,
    SearchDoc,
    TrainSettings,
)

#: Told what is done, how much of it, of how much.
Listener = Callable[[str, int, int], None]

#: Less training rows make no model: 19 carry an interval of 90 %, and leaves hold 5 at least.
FEWEST_TRAIN = 25
FEWEST_TEST = 2

#: Raised where the same table and settings give another model.
REVISION = 2
_LIBRARIES = ("scikit-learn", "numpy", "scipy", "skops", "pyarrow")


@dataclass(frozen=True, eq=False)
class _Work:
    """What all parts of a training share."""

    train: LearningData
    test: LearningData
    settings: TrainSettings
    folds: list[NDArray[np.bool_]]
    workers: int
    listener: Listener
    of_the_paper: tuple[LearningData, LearningData] | None


def train_model(
    table: pa.Table,
    dataset: DatasetRef,
    settings: TrainSettings | None = None,
    *,
    listener: Listener | None = None,
    workers: int = 1,
    cache: Path | None = None,
) -> TrainedModel:
    """
    Train a model and measure how good it is.

    Parameters
    ----------
    table : pyarrow.Table
        See `vtc_flows.learn.tables`; its column ``split`` decides what is for training.
    dataset : DatasetRef
        What the table is; see `dataset_reference`.
    settings : TrainSettings, optional
    listener : callable, optional
        Told how far it is.
    workers : int
        Threads; the model does not depend on them.
    cache : Path, optional
        File that keeps the scores of draws, so that a search that was cut off goes on from there.

    Returns
    -------
    TrainedModel
        Equal from run to run but for ``card.created_at``; ``card.file`` says its name only.

    Raises
    ------
    InputError
        If there are too few rows or groups, or the target is none.
    StorageError
        If the cache cannot be written.
    """
    settings = settings or TrainSettings()
    train, test = learning_data(table, settings.target, settings.kind)
    _check_size(train, test, settings)
    work = _Work(
        train,
        test,
        settings,
        group_folds(train, settings.n_folds, settings.seed),
        workers,
        listener or (lambda *_: None),
        learning_data(table, settings.target, "paper") if settings.kind != "paper" else None,
    )
    best, search = _search(work, cache)
    calibration, errors = _calibrate(work, best)
    forest = fit(train, best, seed=settings.seed, workers=workers)
    units = column_units()
    domain = domains.learn_domain(train, train.names, [units[name] for name in train.names])
    card = _card(work, dataset, best, search)
    return _measured(work, TrainedModel(card, forest, calibration, domain, errors))


def dataset_reference(card: Mapping[str, Any], content: bytes) -> DatasetRef:
    """
    Return what a table is, as the card of a model made from it says it.

    Parameters
    ----------
    card : mapping
        Of the table: that of its file, or the document in ``datasets``.
    content : bytes
        The table's file.

    Raises
    ------
    InputError
        If the file says nothing of itself, as one that others wrote.
    """
    names = set(DatasetRef.model_fields) - {"sha256"}
    lacking = sorted(names - set(card))
    if lacking:
        raise InputError(
            f"the table's file does not say {', '.join(lacking)} of itself: take one of "
            "`vtc build dataset --out DIR`"
        )
    known = {name: card[name] for name in names}
    return DatasetRef.model_validate({**known, "sha256": hashlib.sha256(content).hexdigest()})


def model_name(dataset_name: str, settings: TrainSettings) -> str:
    """
    Return the name that versions of a model share: data set, target, and settings unless usual.

    Examples
    --------
    >>> model_name("table", TrainSettings())
    'table-v2-sams'
    """
    usual = TrainSettings(target=settings.target, kind=settings.kind)
    name = f"{dataset_name}-{settings.kind}-{settings.target}"
    if settings == usual:
        return name
    text = json.dumps(settings.model_dump(mode="json"), sort_keys=True)
    return f"{name}-{short_hash(hashlib.sha256(text.encode()).hexdigest())}"


def model_id(dataset: DatasetRef, settings: TrainSettings) -> str:
    """Return the name of a version of a model: of these rows with these settings."""
    parts = [dataset.sha256, settings.model_dump(mode="json"), __version__, REVISION]
    digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
    return f"{model_name(dataset.name, settings)}-{short_hash(digest)}"


def group_folds(data: LearningData, count: int, seed: int) -> list[NDArray[np.bool_]]:
    """
    Return which rows are held out in each fold of a cross-validation.

    Each row is so once. Groups stay together and each element is spread evenly over the folds, as
    `vtc_flows.learn.split.split` does it, which takes one fold after the other from what is left.

    Parameters
    ----------
    data : LearningData
    count : int
        At least two.
    seed : int

    Returns
    -------
    list of ndarray of bool of shape (n,)
    """
    rest = np.arange(len(data))
    folds = []
    for number in range(count, 1, -1):
        parts = split(
            data.elements[rest].tolist(),
            data.groups[rest].tolist(),
            test_fraction=1.0 / number,
            seed=seed,
        )
        chosen = np.asarray([part == "test" for part in parts], dtype=bool)
        folds.append(np.isin(np.arange(len(data)), rest[chosen]))
        rest = rest[~chosen]
    folds.append(np.isin(np.arange(len(data)), rest))
    return [fold for fold in folds if fold.any()]


def _check_size(train: LearningData, test: LearningData, settings: TrainSettings) -> None:
    n_learned = len(train.learned())
    if n_learned < FEWEST_TRAIN or len(test) < FEWEST_TEST:
        zero = f", {len(train) - n_learned} more are zero by symmetry" * bool(train.isotropic.any())
        raise InputError(
            f"too few rows: a model needs {FEWEST_TRAIN} for training and {FEWEST_TEST} for tests, "
            f"the table has {n_learned} and {len(test)}{zero}: compute more records"
        )
    n_groups = len(set(train.groups.tolist()))
    if n_groups < settings.n_folds:
        raise InputError(
            f"{settings.n_folds} folds need as many groups of near-duplicates, the training rows "
            f"are of {n_groups}: take fewer folds, or a split by another group"
        )


def _search(work: _Work, cache: Path | None) -> tuple[Parameters, SearchDoc]:
    """Return the hyper-parameters with the highest mean R2 over the folds; of equals the first."""
    settings = work.settings
    tried = draws(settings.draws_wanted, settings.seed, settings.n_trees, settings.kind)
    kept = _Kept(cache, _data_digest(work))
    results: list[list[float]] = []
    for number, parameters in enumerate(tried):
        known = kept.get(parameters)
        if known is None:
            known = [_fold_r2(work, parameters, held_out) for held_out in work.folds]
            kept.put(parameters, known)
        results.append(known)
        work.listener("search", number + 1, len(tried))
    means = [float(np.mean(each)) for each in results]
    first = int(np.argmax(means))
    return tried[first], SearchDoc(
        n_draws=len(tried),
        n_folds=len(work.folds),
        cv_r2=means[first],
        cv_r2_std=float(np.std(results[first])),
    )


def _fold_r2(work: _Work, parameters: Parameters, held_out: NDArray[np.bool_]) -> float:
    known, asked = work.train.take(~held_out), work.train.take(held_out)
    forest = fit(known, once(parameters), seed=work.settings.seed, workers=work.workers)
    r2 = evaluation.r2(asked.target, predicted(forest, asked))
    return 0.0 if r2 is None else r2  # a fold of one row, or of equal ones, decides nothing


def _calibrate(work: _Work, best: Parameters) -> tuple[intervals.Calibration, Forest | None]:
    """
    Predict each training row by a forest without its fold.

    Trees that grow to single rows, and boosted ones, do not say how far targets are spread: a
    forest of errors says it then, itself without the fold of the row that it is asked of.
    """
    learned = ~work.train.isotropic
    seed, workers = work.settings.seed, work.workers
    value, spread = np.zeros(len(work.train)), np.zeros(len(work.train))
    for held_out in work.folds:
        forest = fit(work.train.take(~held_out), best, seed=seed, workers=workers)
        value[held_out], spread[held_out] = forest.moments(work.train.features[held_out])
    errors = None
    if work.settings.kind == "v2":
        wrong = work.train.target - value
        for held_out in work.folds:
            known = learned & ~held_out
            without = fit_errors(work.train.take(known), wrong[known], seed=seed, workers=workers)
            spread[held_out] = without.values(work.train.features[held_out])
        errors = fit_errors(work.train.take(learned), wrong[learned], seed=seed, workers=workers)
    calibration = intervals.calibrate(work.train.target[learned], value[learned], spread[learned])
    return calibration, errors


def _card(work: _Work, dataset: DatasetRef, best: Parameters, search: SearchDoc) -> ModelCard:
    """Return the card without what is measured of the model."""
    settings = work.settings
    identity = model_id(dataset, settings)
    nothing = evaluation.part_scores(np.zeros(0), np.zeros(0))
    return ModelCard(
        model_id=identity,
        name=model_name(dataset.name, settings),
        current=True,
        target=settings.target,
        target_unit=column_units()[settings.target],
        features=list(work.train.names),
        dataset=dataset,
        train_settings=settings,
        hyper_parameters=best,
        search=search,
        scores=ElementScores(train=nothing, test=nothing),
        by_element={},
        balanced=None,
        baselines={},
        leave_one_element_out={},
        importances=[],
        learning_curve=[],
        interval=IntervalDoc(method=intervals.METHOD, n_calibration=0, coverage=[]),
        domain=DomainDoc(
            method=domains.METHOD, elements={}, ranges={}, distance_limit=0.0, share_inside=None
        ),
        warnings=[],
        versions={
            **{name: metadata.version(name) for name in _LIBRARIES},
            "zlib": COMPRESSION,
        },
        file=ModelFile(file_name=f"{identity}.skops", n_bytes=0, sha256=""),
        package_version=__version__,
        created_at=utc_now(),
    )


def _measured(work: _Work, model: TrainedModel) -> TrainedModel:
    """Return the model with a card that says how good it is."""
    train, test = work.train, work.test
    in_train, in_test = predicted(model.forest, train), predicted(model.forest, test)
    not_zero = ~test.isotropic
    found = {
        "scores": ElementScores(
            train=evaluation.part_scores(train.target, in_train),
            test=evaluation.part_scores(test.target, in_test),
        ),
        "scores_not_zero": evaluation.part_scores(test.target[not_zero], in_test[not_zero])
        if test.isotropic.any()
        else None,
        "by_element": evaluation.scores_by_element(train, test, in_train, in_test),
        **_further_measures(work, model.card.hyper_parameters),
        "interval": _interval_document(test, model),
        "domain": _domain_document(test, model.domain),
    }
    card = model.card.model_copy(update=found)
    return replace(model, card=card.model_copy(update={"warnings": warning_signs(card)}))


def _further_measures(work: _Work, best: Parameters) -> dict[str, Any]:
    """Return what takes further forests: balanced set, importances, fewer rows, fewer elements."""
    train, test, settings = work.train, work.test, work.settings
    whole = evaluation.join(train, test)
    one = once(best)  # what is compared with each other needs no mean over seeds
    learner = evaluation.forest_learner(one, seed=settings.seed, workers=work.workers)
    n_steps = 4 + len(set(whole.elements.tolist()))
    n_done = 0

    def done() -> None:
        nonlocal n_done
        n_done += 1
        work.listener("evaluation", n_done, n_steps)

    found: dict[str, Any] = {}
    found["balanced"] = evaluation.balanced(train, test, learner, seed=settings.seed)
    done()
    found["baselines"] = evaluation.baselines(train, test)
    if work.of_the_paper is not None:
        forest = evaluation.forest_learner(PAPER_BEST, seed=settings.seed, workers=work.workers)
        found["baselines"]["paper"] = evaluation.scores(forest, *work.of_the_paper)
    done()
    found["learning_curve"] = evaluation.learning_curve(train, test, learner, seed=settings.seed)
    done()
    found["importances"] = evaluation.importances(
        train,
        test,
        one,
        repeats=settings.n_repeats,
        seed=settings.seed,
        workers=work.workers,
    )
    done()
    found["leave_one_element_out"] = evaluation.leave_one_element_out(whole, learner, done)
    return found


def _interval_document(test: LearningData, model: TrainedModel) -> IntervalDoc:
    said = model.predict(test.features, test.elements.tolist(), intervals.LEVELS)
    ends = [(level, said.low[level], said.high[level]) for level in intervals.LEVELS]
    return IntervalDoc(
        method=intervals.METHOD,
        n_calibration=len(model.calibration.scores),
        coverage=intervals.coverage(test.target, ends),
    )


def _domain_document(test: LearningData, domain: domains.Domain) -> DomainDoc:
    distance = domain.distances(test.features)
    reasons = domain.reasons(test.features, test.elements.tolist(), distance)
    ends = zip(domain.names, domain.low, domain.high, strict=True)
    return DomainDoc(
        method=domains.METHOD,
        elements=domain.elements,
        ranges={name: (float(low), float(high)) for name, low, high in ends if np.isfinite(low)},
        distance_limit=domain.limit,
        share_inside=float(np.mean([not each for each in reasons])) if reasons else None,
    )


def _data_digest(work: _Work) -> str:
    """Return the digest of all that decides the score of a draw, but for the draw."""
    digest = hashlib.sha256()
    digest.update(np.ascontiguousarray(work.train.features).tobytes())
    digest.update(np.ascontiguousarray(work.train.target).tobytes())
    for fold in work.folds:
        digest.update(np.packbits(fold).tobytes())
    settled = [work.settings.seed, metadata.version("scikit-learn"), REVISION]
    digest.update(json.dumps(settled).encode())
    return digest.hexdigest()


class _Kept:
    """Scores of draws in a file of JSON lines; a line that was cut off counts as none."""

    def __init__(self, path: Path | None, data: str) -> None:
        self._path, self._data = path, data
        self._known: dict[str, list[float]] = {}
        text = path.read_text(encoding="utf-8") if path is not None and path.is_file() else ""
        for line in text.splitlines():
            try:
                key, scores = json.loads(line)
                self._known[str(key)] = [float(each) for each in scores]
            except (ValueError, TypeError):
                continue

    def get(self, parameters: Parameters) -> list[float] | None:
        return self._known.get(self._key(parameters))

    def put(self, parameters: Parameters, scores: list[float]) -> None:
        if self._path is None:
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("a", encoding="utf-8") as file:
                file.write(f"\n{json.dumps([self._key(parameters), scores])}")
        except OSError as error:
            raise StorageError(f"{self._path}: {error.strerror or error}") from error

    def _key(self, parameters: Parameters) -> str:
        text = json.dumps([self._data, parameters], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()
