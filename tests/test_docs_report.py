"""The commands of docs/strain.md and docs/report.md, run as they stand but for fewer strains."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import trained

from vtc_flows.builders import DatasetBuilder
from vtc_flows.builders.running import build
from vtc_flows.stores.collections import prepare, utc_stamp

ROOT = Path(__file__).parents[1]


def commands(page: str) -> list[list[str]]:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"```bash\n(.*?)```", text, re.DOTALL))
    return [line.split()[1:] for line in blocks.splitlines()]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    (tmp_path / "tests").symlink_to(ROOT / "tests")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.engine
def test_strain_with_the_real_engine(folder, vtc):
    for command in commands("strain.md"):
        done = vtc(*command, "--strain", 0, 1, 0.5, "--fms-atoms", "30")
        assert done.exit_code == 0, done.output
    first = (folder / "nio").glob("*-strain-c.csv")
    without, half, whole = next(first).read_text().splitlines()[1:]
    sams = [float(line.split(",")[5]) for line in (without, half, whole)]
    assert sams[0] < 1e-6
    assert sams[2] / sams[1] == pytest.approx(2.0, rel=0.03)  # linear


def test_report(folder, vtc, database):
    prepare(database)
    found = [each for each in trained.records() if each["fms_atoms"] == 30]
    database.sams.insert_many([{**each, "last_updated": utc_stamp()} for each in found])
    build(DatasetBuilder())
    for command in commands("report.md"):
        done = vtc(*command)
        assert done.exit_code == 0, done.output
    assert (folder / "report" / "report.html").is_file()
