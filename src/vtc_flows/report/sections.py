"""The parts of a report: pictures and tables from what was read, no database and no files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from matplotlib.figure import Figure

from vtc_flows.builders.files import distributions
from vtc_flows.crystal.sites import TRANSITION_METALS
from vtc_flows.learn.forest import search_space
from vtc_flows.learn.matrix import LearningData
from vtc_flows.learn.model import TrainedModel
from vtc_flows.plots.datasets import correlation_figure, distribution_figure, exponent_figure
from vtc_flows.plots.learning import (
    Parity,
    element_figure,
    importance_figure,
    learning_curve_figure,
    parity_figure,
)
from vtc_flows.plots.records import compound_figure
from vtc_flows.plots.strain import crystal_name, strain_figure
from vtc_flows.report.contents import Contents
from vtc_flows.schemas.dataset import FEATURES
from vtc_flows.schemas.models import PartScores

Value = TypeVar("Value")

#: Results of the VtC-XES anisotropy paper, tables 2 and 3, to compare with.
PAPER_BEST = {
    "bootstrap": "True",
    "criterion": "squared_error",
    "max_depth": "12",
    "max_features": "0.3",
    "max_samples": "0.6676",
    "min_samples_leaf": "6",
    "min_samples_split": "11",
    "n_estimators": "587",
}
PAPER_SCORES = {"train": (0.8526, 0.0256), "test": (0.7935, 0.0298)}

_LEVEL = 0.9
_MOST_LISTED = 15
_NO_MODEL = "There is no model of this data set: vtc train makes one."


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure with its name as a file, what it shows, and the same for those who do not see it."""

    name: str
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Table:
    """A table of texts; the first column names the row."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, eq=False)
class Section:
    """A part of the page. `missing` says why it is empty, and what fills it."""

    key: str
    title: str
    texts: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    missing: str = ""
    warnings: tuple[str, ...] = ()


def report_sections(contents: Contents) -> list[Section]:
    """Return all parts in the order of the page; what cannot be shown says what is missing."""
    return [
        _overview(contents),
        _compound(contents),
        _strain(contents),
        _data_set(contents),
        _training(contents),
        _results(contents),
        _importances(contents),
        _elements(contents),
        _more_rows(contents),
        _most_anisotropic(contents),
    ]


def _overview(contents: Contents) -> Section:
    dataset, model = contents.dataset, contents.model
    low, high = dataset.sams_settings.window_ev
    facts = [
        ("data set", dataset.dataset_id),
        (
            "rows",
            (
                f"{dataset.n_rows}: {dataset.parts.train} for training, {dataset.parts.test} for "
                f"tests; near-duplicates by {dataset.split.group_by} on one side"
            ),
        ),
        ("left out", _counts(dataset.left_out)),
        ("engine", f"{dataset.engine}, {', '.join(each.version for each in dataset.engines)}"),
        (
            "neighbours",
            (
                f"{dataset.fms_atoms} in the multiple scattering, "
                f"{dataset.settings.n_scf_atoms} in the potentials"
            ),
        ),
        ("SAMS", f"window E_F{low:+g} ... E_F{high:+g} eV, {_broadening(contents)}"),
        (
            "moments",
            (
                f"weight r^-{dataset.sams_settings.moment_exponent} up to "
                f"{dataset.sams_settings.moment_cutoff_angstrom:g} Å"
            ),
        ),
        ("model", model.card.model_id if model else "none"),
        ("package", f"vtc-flows {dataset.package_version}"),
    ]
    return Section(
        "overview",
        "What this is about",
        tables=(Table("", ("", ""), tuple(facts)),),
        warnings=tuple(model.card.warnings) if model else (),
    )


def _compound(contents: Contents) -> Section:
    title = "One compound"
    record = contents.compound
    if record is None:
        return Section("compound", title, missing="The record's spectra are not in the database.")
    picture = Picture(
        "compound",
        compound_figure(record),
        f"{record.element} in {record.material_id} (record {record.record_id}): the nearest atoms "
        "with the shared frame; emission polarized along its axes; squared differences of the "
        "polarizations; the spectral anisotropy matrix, whose upper three elements add up to SAMS.",
    )
    return Section("compound", title, pictures=(picture,))


def _strain(contents: Contents) -> Section:
    title = "Strain"
    if not contents.studies:
        return Section(
            "strain",
            title,
            missing="There is no strain study with this engine and cluster size: "
            "vtc strain STRUCTURE --store makes one.",
        )
    pictures = []
    rows = []
    for study in contents.studies:
        name = f"strain-{study.material_id}-{study.element}-{study.axis}"
        pictures.append(
            Picture(
                name,
                strain_figure(study),
                f"{crystal_name(study)} stretched along {study.axis}, atoms at "
                "their places in the cell: QAMS and SAMS over strain, and SAMS over QAMS with a "
                "line through each side. The star is the crystal without strain.",
            )
        )
        rows += [
            (
                f"{study.formula} {study.element}",
                line.side,
                f"{line.of.upper()} over {line.over.upper() if line.over == 'qams' else line.over}",
                f"{line.slope:.4g}",
                f"{line.intercept:.2g}",
                _number(line.r2, 5),
                str(line.n),
            )
            for line in study.lines
        ]
    head = ("crystal", "side", "line", "slope", "intercept", "R²", "points")
    table = Table("Straight lines through each side.", head, tuple(rows))
    return Section("strain", title, pictures=tuple(pictures), tables=(table,) if rows else ())


def _data_set(contents: Contents) -> Section:
    rows = [row.model_dump() for row in contents.rows]
    columns = {name: [row[name] for row in rows] for name in (*FEATURES, "sams")}
    exponent = contents.dataset.sams_settings.moment_exponent
    pictures = [
        Picture(
            "distributions",
            distribution_figure(distributions(rows, exponent)),
            "Records of each element, and how QAMS and SAMS are distributed among them: point the "
            "median, box the quartiles, line from the 5th to the 95th percentile of what is not "
            "zero; the share of zeros beside.",
        ),
        Picture(
            "correlations",
            correlation_figure(columns),
            "Pearson's correlation of the features with each other and with SAMS.",
        ),
    ]
    if contents.curve is not None:
        pictures.append(
            Picture(
                "exponents",
                exponent_figure(contents.curve),
                "Rank correlation of QAMS, IAMS and DAMS with SAMS for each exponent of the "
                "moments' weight, over the training part.",
            )
        )
    counts = tuple(
        (name, str(each.train), str(each.test))
        for name, each in _by_number(contents.dataset.by_element)
    )
    table = Table("Rows of each element.", ("element", "training", "tests"), counts)
    return Section("data-set", "Data set", pictures=tuple(pictures), tables=(table,))


def _training(contents: Contents) -> Section:
    title = "Search for hyper-parameters"
    if contents.model is None:
        return Section("training", title, missing=_NO_MODEL)
    card = contents.model.card
    space = search_space(card.train_settings.n_trees)
    rows = tuple(
        (name, _space(space[name]), _setting(value), PAPER_BEST.get(name, ""))
        for name, value in card.hyper_parameters.items()
    )
    search = card.search
    text = (
        f"{search.n_draws} random draws, each judged by R² over {search.n_folds} folds; the best "
        f"has {search.cv_r2:.3f} ± {search.cv_r2_std:.3f} (spread over the folds)."
    )
    head = ("hyper-parameter", "space", "best here", "best in the paper")
    return Section(
        "training", title, texts=(text,), tables=(Table("Space and choice.", head, rows),)
    )


def _results(contents: Contents) -> Section:
    title = "How well it predicts"
    model, train, test = contents.model, contents.train, contents.test
    if model is None or train is None or test is None:
        return Section("results", title, missing=_NO_MODEL)
    card = model.card
    picture = Picture(
        "parity",
        parity_figure(
            [
                _parity(model, train, "training part"),
                _parity(model, test, f"test part, bars: {_LEVEL:.0%} intervals", with_ends=True),
            ],
            f"{card.target.upper()} (eV$^{{-1/2}}$)",
        ),
        "Predicted over computed values.",
    )
    scores = [
        ("random forest", *_four(card.scores.train, card.scores.test)),
        (
            "the paper's, 11,500 rows",
            *(f"{x:.4f}" for part in ("train", "test") for x in PAPER_SCORES[part]),
        ),
    ]
    scores += [
        (f"baseline: {name}", *_four(each.train, each.test))
        for name, each in card.baselines.items()
    ]
    if card.balanced is not None:
        scores.append(
            (
                f"balanced set, {card.balanced.n_per_element} of each element",
                *_four(card.balanced.scores.train, card.balanced.scores.test),
            )
        )
    coverage = tuple(
        (f"{each.level:.0%}", f"{each.coverage:.0%}", str(each.n), f"{each.mean_width:.4f}")
        for each in card.interval.coverage
    )
    tables = (
        Table(
            f"Scores of {card.target}; MAE in {card.target_unit}.",
            ("predicted by", "training R²", "training MAE", "test R²", "test MAE"),
            tuple(scores),
        ),
        Table(
            "How many test rows lie in their intervals.",
            ("interval", "rows inside", "rows", f"mean width ({card.target_unit})"),
            coverage,
        ),
    )
    share = card.domain.share_inside
    texts = () if share is None else (f"{share:.0%} of the test rows are inside the domain.",)
    return Section("results", title, texts=texts, pictures=(picture,), tables=tables)


def _importances(contents: Contents) -> Section:
    title = "What decides"
    if contents.model is None:
        return Section("importances", title, missing=_NO_MODEL)
    found = contents.model.card.importances
    if not found:
        return Section(
            "importances",
            title,
            missing="Noise, the unit, has no importance: more test rows or trees tell.",
        )
    picture = Picture(
        "importances",
        importance_figure(found),
        "How much the mean squared error of the test part grows when a feature is permuted, in "
        "units of a column of noise; lines: spread over permutations and forests.",
    )
    return Section("importances", title, pictures=(picture,))


def _elements(contents: Contents) -> Section:
    title = "Element by element"
    model, test = contents.model, contents.test
    if model is None or test is None:
        return Section("elements", title, missing=_NO_MODEL)
    card = model.card
    panels = {"all rows": {name: each.test for name, each in _by_number(card.by_element)}}
    if card.balanced is not None:
        panels[f"balanced set, {card.balanced.n_per_element} of each element"] = {
            name: each.test for name, each in _by_number(card.balanced.by_element)
        }
    pictures = [
        Picture(
            "elements",
            element_figure(panels),
            "R² of each element's test rows; of fewer than two rows there is none.",
        )
    ]
    chosen = [
        _parity(model, test.take(test.elements == name), name, with_ends=True)
        for name in contents.elements
    ]
    pictures.append(
        Picture(
            "two-elements",
            parity_figure(chosen, f"{card.target.upper()} (eV$^{{-1/2}}$)"),
            f"Test rows of {' and '.join(contents.elements)}; bars: {_LEVEL:.0%} intervals.",
        )
    )
    rows = tuple(
        (
            name,
            str(each.train.n),
            str(each.test.n),
            *_four(each.train, each.test),
            _number(card.leave_one_element_out[name].r2)
            if name in card.leave_one_element_out
            else "–",
        )
        for name, each in _by_number(card.by_element)
    )
    table = Table(
        "By element; the last column by a model that knows all other elements.",
        (
            *("element", "training rows", "test rows", "training R²", "training MAE"),
            *("test R²", "test MAE", "left out R²"),
        ),
        rows,
    )
    return Section("elements", title, pictures=tuple(pictures), tables=(table,))


def _more_rows(contents: Contents) -> Section:
    title = "What more rows would do"
    if contents.model is None:
        return Section("more-rows", title, missing=_NO_MODEL)
    card = contents.model.card
    if len(card.learning_curve) < 2:
        return Section("more-rows", title, missing="Too few rows for a learning curve.")
    picture = Picture(
        "learning-curve",
        learning_curve_figure(card.learning_curve, "eV$^{-1/2}$"),
        "Scores of the test part by models from a part of the training rows; lines: spread over "
        "three random choices.",
    )
    return Section("more-rows", title, pictures=(picture,))


def _most_anisotropic(contents: Contents) -> Section:
    rows = sorted(contents.rows, key=lambda row: -row.sams)[:_MOST_LISTED]
    listed = tuple(
        (
            row.material_id,
            row.formula,
            row.element,
            str(row.space_group_number),
            f"{row.sams:.4f}",
            f"{row.sams_max:.4f}",
            f"{row.sams_crystal:.4f}",
            f"{row.qams:.4g}",
        )
        for row in rows
    )
    table = Table(
        "SAMS of sites (shared frame, largest in any frame) and of the crystal's sum, eV^-1/2.",
        ("crystal", "formula", "X", "space group", "SAMS", "largest", "of the crystal", "QAMS"),
        listed,
    )
    return Section("most-anisotropic", "The most anisotropic crystals", tables=(table,))


def _by_number(of: Mapping[str, Value]) -> list[tuple[str, Value]]:
    """Return elements and what is known of each, by their atomic numbers."""
    return [(name, of[name]) for name in TRANSITION_METALS if name in of]


def _parity(
    model: TrainedModel, data: LearningData, title: str, *, with_ends: bool = False
) -> Parity:
    levels = [_LEVEL] if with_ends else []
    found = model.predict(data.features, data.elements.tolist(), levels)
    return Parity(
        title,
        data.target,
        found.value,
        low=found.low[_LEVEL] if with_ends else None,
        high=found.high[_LEVEL] if with_ends else None,
    )


def _broadening(contents: Contents) -> str:
    width = contents.dataset.sams_settings.fwhm_ev
    return f"broadened by {width:g} eV FWHM" if width else "no broadening but the lifetime's"


def _four(train: PartScores, test: PartScores) -> tuple[str, str, str, str]:
    return _number(train.r2), _number(train.mae), _number(test.r2), _number(test.mae)


def _number(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _counts(of: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in of.items()) or "none"


def _setting(value: bool | int | float | str) -> str:
    return f"{value:.4f}" if isinstance(value, float) and not value.is_integer() else str(value)


def _space(space: object) -> str:
    """Return a list or a distribution as the paper writes it."""
    if isinstance(space, Sequence):
        return ", ".join(str(each) for each in space)
    low, high = (float(end) for end in space.support())  # type: ignore[attr-defined]
    return f"{low:g} ... {high:g}" if np.isfinite([low, high]).all() else str(space)
