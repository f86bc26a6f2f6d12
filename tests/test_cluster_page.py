"""The commands of docs/cluster.md, run as they stand there but for the engine."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from vtc_flows.settings import load_settings
from vtc_flows.stores.local_server import stop_server

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/cluster.md").read_text(encoding="utf-8")


@pytest.fixture
def checkout(tmp_path, mongo_server, monkeypatch, analytic):
    """A folder that looks like the repository to the commands, with a database of its own."""
    (tmp_path / "tests/data").mkdir(parents=True)
    (tmp_path / "tests/data/structures").symlink_to(ROOT / "tests/data/structures")
    monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path / "data"))
    monkeypatch.setenv("HOME", str(tmp_path))
    yield tmp_path
    stop_server(load_settings())


def test_from_nothing_to_records(checkout):
    (commands,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    written = "vtc workflow ../tests/data"
    assert written in commands
    commands = commands.replace(
        written, f"vtc workflow --engine analytic_engine:make {written[13:]}"
    )
    soon = "sed -i 's/RAPIDFIRE_SLEEP_SECS: 10/RAPIDFIRE_SLEEP_SECS: 1/' $FW_CONFIG_FILE"
    commands = commands.replace("FW_config.yaml\n", f"FW_config.yaml\n{soon}\n")
    done = subprocess.run(
        ["bash", "-euc", f"{commands}\nvtc status --json > status.json"],
        cwd=checkout,
        env={**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((checkout / "campaign/status.json").read_text())
    assert found["sites"] == found["records"] == {"COMPLETED": 5}
    assert found["results"] == {"complete": 5}
    (shown,) = re.findall(r"```\n(jobs .*?)```", PAGE, re.DOTALL)
    for line in shown.strip().splitlines():
        assert line in done.stdout


def test_its_options_exist(vtc):
    for name, rest in re.findall(r"`?vtc (\w+)([^`|\n]*)", PAGE):
        if name in ("lpad", "rlaunch", "qlaunch", "db"):
            continue
        text = vtc(name, "--help").output
        for option in re.findall(r"--[a-z-]+", rest):
            assert option in text, (name, option)
