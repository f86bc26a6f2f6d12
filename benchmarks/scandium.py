"""
What the bottom of the valence does to scandium: two runs of the same crystals against each other.

    vtc run benchmarks/data/scandium.jsonl.gz --element Sc --no-plot --out valence
    vtc run benchmarks/data/scandium.jsonl.gz --element Sc --valence-bottom all --no-plot --out all
    python benchmarks/scandium.py valence all [--figure FILE] [--table FILE]

Prints, over the crystals whose anisotropy symmetry does not forbid, where the absorber's 3p level
lies, how much of the area below the spectrum is its tail, how SAMS changes, and how well a random
forest (the source paper's hyper-parameters, five-fold cross-validation, five seeds) predicts either
SAMS from the eight features of the structure.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtc_flows.physics.tensors import isotropic

FEATURES = ("qams", "dams", "iams", "density", "n_sg", "n_3d", "en_mean", "en_std")
#: The source paper's best hyper-parameters, with leaves that fit fewer rows.
FOREST = {
    "n_estimators": 587,
    "max_depth": 12,
    "max_features": 0.3,
    "max_samples": 0.6676,
    "min_samples_leaf": 3,
    "min_samples_split": 6,
}
#: A SAMS below this is zero by symmetry.
ZERO = 1e-4
#: The deepest window of version 0.1.0.
DEEPEST_EV = -30.0


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Return the complete records of a folder of results by material."""
    found = {}
    for path in sorted(folder.glob("*.json")):
        record = json.loads(path.read_text())
        if record["state"] == "complete":
            found[record["material_id"]] = record
    return found


def area(record: dict[str, Any]) -> float:
    """Return the mean area of the isotropic spectrum over all sites, from E_F-30 eV."""
    areas, weights = [], []
    for site in record["sites"]:
        energy = np.array(site["energy_ev"]) - site["e_fermi_ev"]
        inside = energy >= DEEPEST_EV - 1e-9
        mean = isotropic(np.array(site["tensor"]))
        areas.append(np.trapezoid(mean[inside], energy[inside]))
        weights.append(site["multiplicity"])
    return float(np.average(areas, weights=weights))


def level_3p(record: dict[str, Any]) -> float:
    """Return where the highest 3p level lies below the Fermi level; NaN where it is too deep."""
    levels = [
        site["valence_bottom"]["level_3p_ev"] - site["e_fermi_ev"]
        for site in record["sites"]
        if site["valence_bottom"]["level_3p_ev"] is not None
    ]
    return max(levels, default=np.nan)


def predictability(rows: list[dict[str, Any]]) -> tuple[float, float]:
    """Return mean and spread over seeds of the cross-validated R2."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold, cross_val_predict

    inputs = np.array([[row["features"][name] or 0.0 for name in FEATURES] for row in rows])
    target = np.array([row["sams"] for row in rows])
    scores = []
    for seed in range(5):
        forest = RandomForestRegressor(random_state=seed, n_jobs=1, **FOREST)
        folds = KFold(5, shuffle=True, random_state=seed)
        scores.append(r2_score(target, cross_val_predict(forest, inputs, target, cv=folds)))
    return float(np.mean(scores)), float(np.std(scores))


def quantiles(values: NDArray[np.float64]) -> str:
    """Return median and range as text."""
    return f"median {np.nanmedian(values):.3f}, {np.nanmin(values):.3f} ... {np.nanmax(values):.3f}"


def report(valence: dict[str, Any], whole: dict[str, Any]) -> str:
    """Return what is to be said of two runs."""
    both = [name for name in valence if name in whole]
    forbidden = [name for name in both if valence[name]["sams"] < ZERO]
    kept = [name for name in both if name not in forbidden]
    new, old = ([side[name] for name in kept] for side in (valence, whole))
    before, after = (np.array([row["sams"] for row in rows]) for rows in (old, new))
    excess = np.array([area(o) / area(n) - 1 for o, n in zip(old, new, strict=True)])
    levels = np.array([level_3p(row) for row in new])
    lines = [
        f"records {len(both)}, zero by symmetry {len(forbidden)}, used {len(kept)}",
        f"3p level, E - E_F in eV: {quantiles(levels)}; too deep {int(np.isnan(levels).sum())}",
        f"area without a bottom / with it - 1: {quantiles(excess)}",
        f"SAMS without a bottom: {quantiles(before)}",
        f"SAMS of the valence: {quantiles(after)}",
        f"ratio of the two: {quantiles(after / before)}",
        f"rank correlation of the two: {_rank_correlation(before, after):.3f}",
    ]
    for name, rows in (("without a bottom", old), ("of the valence", new)):
        mean, spread = predictability(rows)
        lines.append(f"R2 of SAMS {name}: {mean:.3f} +- {spread:.3f}")
    return "\n".join(lines)


def _rank_correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    from scipy.stats import spearmanr

    return float(spearmanr(one, other).statistic)


def table(valence: dict[str, Any], whole: dict[str, Any]) -> str:
    """Return both SAMS of each record as Markdown."""
    lines = [
        "| crystal | E_3p - E_F, eV | bottom, eV | area: excess | SAMS, all | SAMS, valence |",
        "|---|---|---|---|---|---|",
    ]
    for name in sorted(valence):
        if name not in whole:
            continue
        new, old = valence[name], whole[name]
        bottom = max(s["valence_bottom"]["energy_ev"] - s["e_fermi_ev"] for s in new["sites"])
        lines.append(
            f"| {name} | {level_3p(new):.1f} | {bottom:.1f} | {area(old) / area(new) - 1:+.1%} | "
            f"{old['sams']:.4f} | {new['sams']:.4f} |"
        )
    return "\n".join(lines).replace("nan", "below -36") + "\n"


def draw(valence: dict[str, Any], whole: dict[str, Any], names: list[str], path: Path) -> None:
    """Draw spectra with and without the lower end."""
    import matplotlib.pyplot as plt

    columns = 3
    rows = -(-len(names) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(4 * columns, 2.6 * rows), squeeze=False)
    for axis, name in zip(axes.flat, names, strict=False):
        for side, style, label in ((whole, "C1-", "all states"), (valence, "C0-", "valence")):
            site = side[name]["sites"][0]
            energy = np.array(site["energy_ev"]) - site["e_fermi_ev"]
            axis.semilogy(
                energy, isotropic(np.array(site["tensor"])).clip(1e-4), style, label=label
            )
        bottom = valence[name]["sites"][0]["valence_bottom"]["energy_ev"]
        axis.axvline(bottom - valence[name]["sites"][0]["e_fermi_ev"], color="0.6", linestyle=":")
        axis.set_title(f"{name} {valence[name]['element']}", fontsize=10)
        axis.set_xlim(-30, 5)
        axis.set_ylim(1e-3, None)
    for axis in axes.flat[len(names) :]:
        axis.set_axis_off()
    for axis in axes[-1]:
        axis.set_xlabel("E - E_F (eV)")
    for axis in axes[:, 0]:
        axis.set_ylabel("emission")
    axes[0, 0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=90)


def main() -> None:
    """Compare the two folders that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("valence", type=Path)
    parser.add_argument("all", type=Path)
    parser.add_argument("--table", type=Path)
    parser.add_argument("--figure", type=Path)
    parser.add_argument(
        "--names", nargs="*", help="crystals of the figure; the first twelve if not"
    )
    given = parser.parse_args()
    valence, whole = records(given.valence), records(given.all)
    print(report(valence, whole))
    if given.table:
        given.table.write_text(table(valence, whole))
    if given.figure:
        draw(valence, whole, given.names or sorted(set(valence) & set(whole))[:12], given.figure)


if __name__ == "__main__":
    main()
