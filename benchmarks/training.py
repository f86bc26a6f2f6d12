"""
Training on a synthetic table of the size of the published one, against scikit-learn's own search.

    python benchmarks/training.py [--rows 11500] [--draws 100] [--rival 3] [--threads 2]

The table has the columns of a data set, ten elements, formulas that share rows, and a target that
is a function of four features with noise: its scores mean nothing, its times do. The rival is
`sklearn.model_selection.RandomizedSearchCV` with the same space, seed, folds and threads, on the
first draws of the same sequence; the ratio is that of the times of these draws in this run.
"""

from __future__ import annotations

import argparse
import sys
import time

import numpy as np
import pyarrow as pa
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import RandomizedSearchCV

from vtc_flows.learn.forest import search_space
from vtc_flows.learn.matrix import learning_data
from vtc_flows.learn.split import split
from vtc_flows.learn.tables import to_table
from vtc_flows.learn.training import group_folds, train_model
from vtc_flows.schemas import SamsSettings, XesSettings
from vtc_flows.schemas.dataset import (
    ANISOTROPIES,
    PAPER_FEATURES,
    V2_FEATURES,
    DatasetRow,
    SplitSettings,
)
from vtc_flows.schemas.models import DatasetRef, TrainSettings

_FREE = tuple(name for name in V2_FEATURES if name not in PAPER_FEATURES)
ELEMENTS = ("Sc", "Ti", "V", "Cr", "Mn", "Fe", "Co", "Ni", "Cu", "Zn")


def synthetic_table(n_rows: int, seed: int = 0) -> pa.Table:
    """Return a table of the shape of a data set."""
    rng = np.random.default_rng(seed)
    elements = rng.choice(ELEMENTS, n_rows).tolist()
    formulas = [f"F{number}" for number in rng.integers(0, max(2, int(0.8 * n_rows)), n_rows)]
    parts = split(elements, formulas)
    qams, iams = np.where(rng.random((2, n_rows)) < 0.2, 0.0, rng.lognormal(-2, 1, (2, n_rows)))
    density, en_mean = rng.uniform(1.5, 9.0, n_rows), rng.uniform(1.3, 3.5, n_rows)
    noise = rng.normal(0.0, 0.02, n_rows)
    sams = np.abs(
        0.1 * np.sqrt(qams) + 0.2 * iams / (1 + iams) + 0.01 * density * en_mean / 3 + noise
    )
    free = rng.normal(size=(n_rows, len(_FREE)))
    rows = [
        DatasetRow(
            record_id=f"s{k:06d}",
            material_id=f"s{k:06d}",
            element=elements[k],
            formula=formulas[k],
            split_group=formulas[k],
            split=parts[k],
            prototype="AB-1",
            space_group_number=1,
            structure_hash=str(k),
            n_sites=1,
            n_orbits=1,
            oxidation_method="guess",
            qams=float(qams[k]),
            dams=float(rng.lognormal(-4, 1)),
            iams=float(iams[k]),
            density=float(density[k]),
            n_sg=float(rng.integers(1, 231)) / 230,
            n_3d=float(rng.integers(0, 12)),
            en_mean=None if k % 50 == 0 else float(en_mean[k]),
            en_std=None if k % 50 == 0 else float(rng.uniform(0, 1.2)),
            **dict.fromkeys(("sams", "sams_site", "sams_max"), float(sams[k])),
            **dict.fromkeys(("sams_crystal", "sams_crystal_max"), float(sams[k])),
            **dict.fromkeys(ANISOTROPIES, float(sams[k])),
            **dict(zip(_FREE, free[k].tolist(), strict=True)),
            n_without_electronegativity=0,
            frame_freedom="none",
            engine="synthetic",
            engine_sha256="0" * 64,
            fms_atoms=80,
            settings_hash="0" * 8,
            source="",
        )
        for k in range(n_rows)
    ]
    return to_table(rows)


def reference(n_rows: int) -> DatasetRef:
    """Return what stands for a data set's document."""
    return DatasetRef(
        dataset_id="synthetic-0",
        name="synthetic",
        sha256="0" * 64,
        n_rows=n_rows,
        engine="synthetic",
        fms_atoms=80,
        settings_hash="0" * 8,
        settings=XesSettings(),
        sams_settings=SamsSettings(),
        split=SplitSettings(),
    )


def rival_seconds(table: pa.Table, settings: TrainSettings, count: int, threads: int) -> float:
    """Return how long scikit-learn's own search takes for the first draws."""
    train, _ = learning_data(table, settings.target)
    folds = group_folds(train, settings.n_folds, settings.seed)
    search = RandomizedSearchCV(
        RandomForestRegressor(random_state=settings.seed, n_jobs=threads),
        search_space(settings.n_trees),
        n_iter=count,
        scoring="r2",
        cv=[(np.flatnonzero(~fold), np.flatnonzero(fold)) for fold in folds],
        refit=False,
        random_state=settings.seed,
    )
    begin = time.perf_counter()
    search.fit(train.features, train.target)
    return time.perf_counter() - begin


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("--rows", type=int, default=11500)
    parser.add_argument("--draws", type=int, default=100)
    parser.add_argument("--rival", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--trees", type=int, nargs=2, default=(300, 700))
    options = parser.parse_args()
    settings = TrainSettings(kind="paper", n_draws=options.draws, n_trees=tuple(options.trees))
    table = synthetic_table(options.rows)
    n_rival = min(options.rival, options.draws)
    theirs = rival_seconds(table, settings, n_rival, options.threads)
    print(f"scikit-learn's      {theirs:.1f} s for {n_rival} draws", flush=True)
    begin = time.perf_counter()
    ends: list[float] = []

    def listener(what: str, done: int, total: int) -> None:
        if what == "search":
            ends.append(time.perf_counter() - begin)
            if done == n_rival:
                print(f"ratio               {ends[-1] / theirs:.2f} for these draws", flush=True)
        print(f"{what} {done}/{total} {time.perf_counter() - begin:.0f} s", file=sys.stderr)

    model = train_model(
        table, reference(options.rows), settings, listener=listener, workers=options.threads
    )
    whole = time.perf_counter() - begin
    card = model.card
    print(f"search              {ends[-1]:.0f} s wall for {card.search.n_draws} draws, ", end="")
    print(f"{card.search.n_folds} folds, {card.scores.train.n} training rows")
    print(f"rest of training    {whole - ends[-1]:.0f} s wall (calibration, measures, card)")


if __name__ == "__main__":
    main()
