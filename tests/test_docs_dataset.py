"""The page of the data set, run as it stands; it explains every column."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from vtc_flows.dataset.shards import SCHEMA

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/dataset.md").read_text(encoding="utf-8")


def test_every_column_is_explained():
    columns = PAGE[PAGE.index("## Columns") : PAGE.index("## Records")]
    rows = re.findall(r"^\| (`.*?) \|", columns, re.MULTILINE)
    explained = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert explained == set(SCHEMA.names)


@pytest.mark.engine
def test_the_page_runs(tmp_path, vtc, monkeypatch, capsys):
    for name in ("tests", "benchmarks", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    making, records = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    of_row, of_loader, of_training = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    run(vtc, making.strip() + " --nice 0")
    assert printed(of_row, capsys) == "mp-20448 Mn (351, 6)\n"
    for line in records.splitlines():
        run(vtc, line)
    assert pq.read_table("set/records.parquet").num_rows >= 2
    assert (tmp_path / "copy/records.parquet").read_bytes() == (
        tmp_path / "set/records.parquet"
    ).read_bytes()
    assert "mp-20448 Mn (351,) (351, 6)" in printed(of_loader, capsys)
    assert float(printed(of_training, capsys)) > 0.6


def run(vtc, line: str) -> None:
    """Run a line of the page, a command of ours or of the system."""
    if line.startswith("vtc "):
        done = vtc(*line.split()[1:])
        assert done.exit_code == 0, done.output
    else:
        subprocess.run(line, shell=True, check=True)


def printed(code: str, capsys) -> str:
    """Return what a block of the page prints."""
    capsys.readouterr()
    exec(compile(code, "page", "exec"), {})
    return capsys.readouterr().out
