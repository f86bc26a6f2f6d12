"""Tables to learn from: that of the benchmark, small, with forests of few trees."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from vtc_flows.schemas.models import TrainSettings

_PATH = Path(__file__).parents[2] / "benchmarks" / "training.py"
_SPEC = importlib.util.spec_from_file_location("benchmark_of_training", _PATH)
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)

synthetic_table = _MODULE.synthetic_table
reference = _MODULE.reference

QUICK = TrainSettings(kind="paper", n_draws=2, n_folds=3, n_repeats=2, n_trees=(5, 8))
