"""Tables and pictures of what was built, as files."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from vtc_flows.builders.dataset import DatasetBuilder, table_file
from vtc_flows.builders.derived import DerivedBuilder
from vtc_flows.builders.exponents import ExponentCurveBuilder
from vtc_flows.builders.features import FeatureBuilder
from vtc_flows.learn.tables import read_parquet
from vtc_flows.plots.datasets import distribution_figure, exponent_figure
from vtc_flows.plots.style import SAMS_LABEL, moment_label, png
from vtc_flows.schemas.dataset import DatasetDoc
from vtc_flows.schemas.exponents import ExponentCurveDoc
from vtc_flows.stores.collections import DATASETS, EXPONENT_CURVES, FEATURES
from vtc_flows.stores.connection import MongoDatabase
from vtc_flows.writing import file_name, write_whole


def write_files(
    database: MongoDatabase, folder: Path, kinds: Collection[type[DerivedBuilder]]
) -> None:
    """
    Write what builders made.

    Parameters
    ----------
    database : Database
    folder : Path
        Made where it is missing.
    kinds : collection of type
        Builders: of `FeatureBuilder` the distributions, of `DatasetBuilder` the current tables with
        their documents and distributions, of `ExponentCurveBuilder` the curves.

    Raises
    ------
    StorageError
        If the folder cannot be written.
    """
    own = {"_id": 0, "build": 0, "last_updated": 0}
    good = {"state": "successful"}
    if FeatureBuilder in kinds:
        _write_features(database, folder)
    if DatasetBuilder in kinds:
        for found in database[DATASETS.name].find({**good, "current": True}, own):
            dataset = DatasetDoc.model_validate(found)
            content = table_file(database, dataset)
            write_whole(folder / file_name(dataset.table.file_name), content)
            write_whole(
                folder / file_name(dataset.dataset_id, ".json"), dataset.model_dump_json(indent=1)
            )
            _write_distributions(folder, dataset, content)
    if ExponentCurveBuilder in kinds:
        for found in database[EXPONENT_CURVES.name].find(good, own):
            curve = ExponentCurveDoc.model_validate(found)
            picture = png(exponent_figure(curve))
            write_whole(folder / file_name(f"{curve.curve_id}-exponents", ".png"), picture)


def _write_features(database: MongoDatabase, folder: Path) -> None:
    """Draw the features of the whole collection, one picture for each choice of moments."""
    fields = ("moment_exponent", "moment_cutoff_angstrom")
    quantities = ("qams", "dams", "iams")
    good = {"state": "successful"}
    wanted = {"element": 1, **dict.fromkeys(fields, 1)}
    wanted.update({f"features.{name}": 1 for name in quantities})
    found: dict[tuple[int, float], dict[str, dict[str, list[float]]]] = {}
    for each in database[FEATURES.name].find(good, {"_id": 0, **wanted}):
        ours = found.setdefault((each[fields[0]], each[fields[1]]), {})
        for name in quantities:
            values = ours.setdefault(name, {}).setdefault(each["element"], [])
            values.append(each["features"][name])
    for (power, cutoff), ours in found.items():
        figure = distribution_figure({moment_label(name, power): ours[name] for name in quantities})
        name = file_name(f"features-p{power}-r{cutoff:g}", ".png")
        write_whole(folder / name, png(figure))


def _write_distributions(folder: Path, dataset: DatasetDoc, content: bytes) -> None:
    table, _ = read_parquet(content)
    figure = distribution_figure(
        distributions(table.to_pylist(), dataset.sams_settings.moment_exponent)
    )
    write_whole(folder / file_name(f"{dataset.dataset_id}-distributions", ".png"), png(figure))


def distributions(
    rows: Iterable[Mapping[str, Any]], moment_exponent: int
) -> dict[str, dict[str, list[float]]]:
    """Return QAMS and SAMS of a table's rows by element, as `distribution_figure` takes them."""
    labels = {"qams": moment_label("qams", moment_exponent), "sams": SAMS_LABEL}
    values: dict[str, dict[str, list[float]]] = {label: {} for label in labels.values()}
    for row in rows:
        for name, label in labels.items():
            values[label].setdefault(row["element"], []).append(row[name])
    return values
