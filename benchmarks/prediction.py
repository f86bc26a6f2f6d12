"""
Predictions per second, against asking the forest crystal by crystal.

    python benchmarks/prediction.py STRUCTURES.jsonl.gz [--structures 300]

Both get the same features. The rival is scikit-learn's forest, asked once for each row; the forest
here is asked for 256 rows at a time and gives the spread as well. The values must be the same. A
forest of 500 trees on 5,000 made-up rows stands for a large one. Wall seconds of one process.
"""

from __future__ import annotations

import argparse
import time
from itertools import islice
from pathlib import Path

import numpy as np
from sklearn.ensemble import RandomForestRegressor

from vtc_flows.crystal.features import features_by_element
from vtc_flows.crystal.sources import load_structures
from vtc_flows.errors import VtcFlowsError
from vtc_flows.learn.forest import Forest
from vtc_flows.learn.matrix import feature_matrix

N_ROWS, N_TREES, N_FEATURES = 5000, 500, 8
BATCH = 256


def trained() -> RandomForestRegressor:
    """Return scikit-learn's forest of made-up rows."""
    random = np.random.default_rng(0)
    rows = random.normal(size=(N_ROWS, N_FEATURES))
    target = rows[:, 0] + rows[:, 1] ** 2 + 0.1 * random.normal(size=N_ROWS)
    forest = RandomForestRegressor(N_TREES, max_depth=12, min_samples_leaf=5, random_state=0)
    return forest.fit(rows, target)


def main() -> None:
    """Time both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("structures", type=Path)
    parser.add_argument("--structures", dest="count", type=int, default=300)
    options = parser.parse_args()
    records = list(islice(load_structures([options.structures]), options.count))
    rival = trained()
    ours = Forest.of(rival)

    rows, feature_seconds = [], 0.0
    for record in records:
        begin = time.perf_counter()
        try:
            found = features_by_element(record.structure)
        except VtcFlowsError:
            continue
        finally:
            feature_seconds += time.perf_counter() - begin
        rows += [each.values() for each in found.values()]
    matrix = feature_matrix(rows)

    begin = time.perf_counter()
    one_by_one = np.concatenate([rival.predict(matrix[k : k + 1]) for k in range(len(matrix))])
    rival_seconds = time.perf_counter() - begin
    begin = time.perf_counter()
    batches = [ours.moments(matrix[k : k + BATCH])[0] for k in range(0, len(matrix), BATCH)]
    own_seconds = time.perf_counter() - begin
    assert np.allclose(np.concatenate(batches), one_by_one, rtol=1e-9)

    n = len(matrix)
    whole, rivals = feature_seconds + own_seconds, feature_seconds + rival_seconds
    print(f"crystals            {len(records)}, {n} predictions, forest of {N_TREES} trees")
    print(f"features            {1e3 * feature_seconds / n:.2f} ms per prediction, in both")
    print(f"forest, batches     {1e3 * own_seconds / n:.3f} ms per prediction, with the spread")
    print(f"forest, one by one  {1e3 * rival_seconds / n:.3f} ms per prediction: scikit-learn")
    ratios = f"{rival_seconds / own_seconds:.0f} (forest), {rivals / whole:.1f} (with features)"
    print(f"ratio               {ratios}")


if __name__ == "__main__":
    main()
