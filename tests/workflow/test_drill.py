"""The drill of `benchmarks/drill.py` in a smaller size."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_workers_are_killed_and_the_database_restarted_and_all_is_there_once(mongo_server):
    size = ("--crystals", "12", "--workers", "3", "--kills", "4", "--restarts", "1")
    # 14 sites of 3 s keep 3 workers busy past the last kill and the restart, on any machine
    size += ("--takes", "3", "--kill-every", "2")
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks/drill.py"), *size, "--limit", "300", "--json"],
        env={key: value for key, value in os.environ.items() if not key.startswith("VTC_")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["crystals"], found["sites"], found["records"]) == (12, 14, 12)
    assert found["records_present"] == found["records_complete"] == 12
    assert found["kills"] == 4
    assert found["restarts"] == 1
    assert found["lost_work_s"] >= 0
    assert (found["lost_waiting_s"] > 0) == (found["launches_lost"] > 0)
