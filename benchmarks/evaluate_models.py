"""
How good the models are, on the data set: `python benchmarks/evaluate_models.py data`.

Prints R2 with limits that hold 90 % of resampled rows, MAE and MAE over the standard deviation of
the targets: on the fixed test part, by element, by class and by size, without the rows that are
zero by symmetry; against simple models and against the labels' own noise (30 against 80
neighbors); in cross-validation by formula and by prototype; with a class or an element left out;
with fewer rows; with five seeds; and how often the intervals of the package's models hold.

    python benchmarks/evaluate_models.py data [--target anisotropy_2ev] [--outside LABELS.csv.gz]

--outside compares with labels of another group: columns material_id, element, sam_12, sam_13,
sam_23, in their convention (`vtc_flows.physics.sams.sam_of_grid_sums`).
"""

from __future__ import annotations

import argparse
import csv
import gzip
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import pearsonr, spearmanr

from vtc_flows.dataset.loading import Dataset, load_dataset
from vtc_flows.dataset.tables import learning_table
from vtc_flows.learn.evaluation import baselines, forest_learner, part_scores
from vtc_flows.learn.forest import PAPER_BEST
from vtc_flows.learn.matrix import LearningData, learning_data
from vtc_flows.learn.shipped_models import shipped_model
from vtc_flows.physics.sams import sam_of_grid_sums
from vtc_flows.schemas.models import PartScores

Learner = Callable[[LearningData, LearningData], NDArray[np.float64]]

#: Absolute window of the other group's labels, on FEFF's scale of energies.
OUTSIDE_WINDOW_EV = (-30.0, 5.0)
SIZES = ((1, 6), (7, 12), (13, 20), (21, 32), (33, 1000))


def line(name: str, scores: PartScores) -> None:
    """Print the scores of some rows."""
    if scores.r2 is None or scores.mae_over_sd is None:
        print(f"{name:34s} {scores.n:6d}")
        return
    limits = scores.r2_interval
    said = "" if limits is None else f"[{limits[0]:.3f}, {limits[1]:.3f}]"
    print(
        f"{name:34s} {scores.n:6d}  R2 {scores.r2:6.3f} {said:16s} MAE {scores.mae:.4f} "
        f"MAE/sd {scores.mae_over_sd:.3f}",
        flush=True,
    )


def columns(records: list[dict], ids: list[str], name: str) -> NDArray:
    """Return a column of the records in the order of the rows to learn from."""
    known = {row["record_id"]: row[name] for row in records}
    return np.array([known[each] for each in ids])


def ids_of(table) -> tuple[list[str], list[str]]:
    """Return the records' names in the training and the test part, in the order of the arrays."""
    rows = sorted(zip(table["record_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    return (
        [name for name, part in rows if part == "train"],
        [name for name, part in rows if part == "test"],
    )


def out_of_fold(data: LearningData, folds: NDArray, learner: Learner) -> NDArray:
    """Return what models without the fold of a row say of it."""
    said = np.zeros(len(data))
    for fold in np.unique(folds):
        asked = folds == fold
        said[asked] = learner(data.take(~asked), data.take(asked))
    return said


def by_group(name: str, groups: NDArray, target: NDArray, said: NDArray) -> None:
    """Print the scores of each group of rows."""
    for group in sorted(set(groups.tolist())):
        ours = groups == group
        line(f"  {name} {group}", part_scores(target[ours], said[ours]))


def ceiling(dataset: Dataset, target: str) -> None:
    """Print how well the label with 30 neighbors says the one with 80, over the test part."""
    found: dict[tuple[str, str], dict[int, float]] = defaultdict(dict)
    for row in dataset.records("test", fms_atoms=None).to_pylist():
        found[row["material_id"], row["element"]][row["fms_atoms"]] = row[target]
    both = np.array([[one[30], one[80]] for one in found.values() if {30, 80} <= set(one)])
    line("30 neighbors for 80 (ceiling)", part_scores(both[:, 1], both[:, 0]))


def evaluate(dataset: Dataset, target: str) -> None:
    """Print everything that is measured with the data set alone."""
    records = dataset.records().to_pylist()
    table = learning_table(dataset.all_records())
    card = shipped_model(target).card
    v2 = forest_learner({**card.hyper_parameters}, seed=0, workers=2)
    fast = forest_learner({**card.hyper_parameters, "n_seeds": 1}, seed=0, workers=2)
    paper = forest_learner(PAPER_BEST, seed=0, workers=2)
    train, test = learning_data(table, target, "v2")
    paper_train, paper_test = learning_data(table, target, "paper")
    train_ids, test_ids = ids_of(table)
    print(f"{target}: {len(train)} training rows, {len(test)} test rows")
    print(f"hyper-parameters (of the training part alone): {card.hyper_parameters}\ntest part:")
    said = v2(train, test)
    line("v2", part_scores(test.target, said))
    free = ~test.isotropic
    line("v2, not zero by symmetry", part_scores(test.target[free], said[free]))
    paper_said = paper(paper_train, paper_test)
    line("paper", part_scores(test.target, paper_said))
    line("paper, not zero by symmetry", part_scores(test.target[free], paper_said[free]))
    for name, scores in baselines(train, test).items():
        line(name, scores.test)
    ceiling(dataset, target)
    classes = columns(records, test_ids, "chemical_class")
    by_group("element", test.elements, test.target, said)
    by_group("class", classes, test.target, said)
    learners = [forest_learner(card.hyper_parameters, seed=seed, workers=2) for seed in range(5)]
    seeds = [part_scores(test.target, learner(train, test)).r2 for learner in learners]
    print(f"five seeds: R2 {np.mean(seeds):.4f} +- {np.std(seeds):.4f}")
    print("learning curve, test part (single boosted models, three draws):")
    rng = np.random.default_rng(0)
    pairs = ((fast, train, test), (paper, paper_train, paper_test))
    for size in (100, 300, 1000, 3000, 10000):
        if size >= len(train):
            break
        r2 = []
        for _ in range(3):
            chosen = rng.permutation(len(train))[:size]
            r2.append(
                [
                    part_scores(test.target, learner(part.take(chosen), asked)).r2
                    for learner, part, asked in pairs
                ]
            )
        mean, spread = np.mean(r2, axis=0), np.std(r2, axis=0)
        v2_said, paper_said = (f"{m:.3f} +- {s:.3f}" for m, s in zip(mean, spread, strict=True))
        print(f"  {size:6d}  v2 {v2_said}  paper {paper_said}")
    print("cross-validation over the training part:")
    for kind in ("formula", "prototype"):
        folds = columns(records, train_ids, f"fold_{kind}")
        line(f"v2 by {kind}", part_scores(train.target, out_of_fold(train, folds, fast)))
        line(
            f"paper by {kind}",
            part_scores(train.target, out_of_fold(paper_train, folds, paper)),
        )
    train_classes = columns(records, train_ids, "chemical_class")
    for name, groups in (("class", train_classes), ("element", train.elements)):
        left = out_of_fold(train, groups, fast)
        line(f"v2 without the row's {name}", part_scores(train.target, left))
        by_group(f"without the {name}", groups, train.target, left)
    coverage(records, test, test_ids, target)


def coverage(records: list[dict], test: LearningData, ids: list[str], target: str) -> None:
    """Print how often the intervals of the package's model hold, by class and by size."""
    model = shipped_model(target)
    found = model.predict(test.features, test.elements.tolist(), [0.8])
    held = (test.target >= found.low[0.8]) & (test.target <= found.high[0.8])
    print(f"intervals of 80 % hold {held.mean():.0%} of the test part")
    classes = columns(records, ids, "chemical_class")
    for name in sorted(set(classes.tolist())):
        ours = classes == name
        print(f"  {name}: {held[ours].mean():.0%} of {ours.sum()}")
    atoms = columns(records, ids, "n_atoms")
    for low, high in SIZES:
        ours = (atoms >= low) & (atoms <= high)
        if ours.any():
            print(f"  {low} to {high} atoms: {held[ours].mean():.0%} of {ours.sum()}")


def outside(dataset: Dataset, path: Path) -> None:
    """Print the correlation with labels of another group, in their convention."""
    with gzip.open(path, "rt") as stream:
        theirs = {
            (row["material_id"], row["element"]): sum(
                float(row[name]) for name in ("sam_12", "sam_13", "sam_23")
            )
            for row in csv.DictReader(stream)
        }
    pairs: dict[str, list[tuple[float, float, float]]] = defaultdict(list)
    for record in dataset.sams_records({material for material, _ in theirs}):
        key = record.material_id, record.element
        if record.state != "complete" or record.fms_atoms != 30 or key not in theirs:
            continue
        mean = np.mean([np.asarray(site.tensor) for site in record.sites], axis=0)
        energy = np.asarray(record.sites[0].energy_ev)
        matrix = sam_of_grid_sums(energy, mean, record.frame, OUTSIDE_WINDOW_EV)
        ours = float(matrix[0, 1] + matrix[0, 2] + matrix[1, 2])
        pairs[record.element].append((theirs[key], ours, float(record.sams or 0.0)))
    every = [pair for found in pairs.values() for pair in found]
    for name, found in (*sorted(pairs.items()), ("all", every)):
        values = np.array(found)
        if len(values) < 3:
            continue
        print(
            f"{name:4s} {len(values):5d} records  in their convention: Pearson "
            f"{pearsonr(values[:, 0], values[:, 1])[0]:.3f} Spearman "
            f"{spearmanr(values[:, 0], values[:, 1])[0]:.3f}; our SAMS: Pearson "
            f"{pearsonr(values[:, 0], values[:, 2])[0]:.3f} Spearman "
            f"{spearmanr(values[:, 0], values[:, 2])[0]:.3f}"
        )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("data", type=Path)
    parser.add_argument("--target", default="anisotropy_2ev")
    parser.add_argument("--outside", type=Path)
    options = parser.parse_args()
    dataset = load_dataset(options.data)
    if options.outside is not None:
        outside(dataset, options.outside)
    else:
        evaluate(dataset, options.target)


if __name__ == "__main__":
    main()
