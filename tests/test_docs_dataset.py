"""The page of the data set, run as it stands; it explains every column."""

from __future__ import annotations

import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from vtc_flows.dataset.shards import SCHEMA

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/dataset.md").read_text(encoding="utf-8")


def test_every_column_is_explained():
    rows = re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert explained == set(SCHEMA.names)


@pytest.mark.engine
def test_the_commands_run(tmp_path, vtc, monkeypatch, capsys):
    for name in ("tests", "benchmarks"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    making, records = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in [making.strip() + " --nice 0", *records.splitlines()]:
        done = vtc(*line.split()[1:])
        assert done.exit_code == 0, done.output
    assert pq.read_table("records.parquet").num_rows >= 2
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    capsys.readouterr()
    exec(compile(code, "page", "exec"), {})
    assert capsys.readouterr().out == "mp-20448 Mn (351, 6)\n"
