from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_benchmark_runs(mongo_server):
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "benchmarks" / "builders.py")),
            *(str(ROOT / "benchmarks" / "data" / "ten_crystals.jsonl"), "--structures", "10"),
        ],
        capture_output=True,
        text=True,
        env={**os.environ, "VTC_DATABASE_NAME": "test_benchmark"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "materials           10, 1 process(es)" in done.stdout
    assert "nothing written" in done.stdout
