"""The page about learning, run as it stands, but for fewer and smaller forests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vtc_flows.schemas.dataset import V2_FEATURES
from vtc_flows.settings import load_settings
from vtc_flows.stores.local_server import stop_server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/learning.md").read_text(encoding="utf-8")
QUICK = ("--draws", "1", "--repeats", "1", "--trees", "5", "8")


@pytest.fixture
def own_database(tmp_path, mongo_server, monkeypatch):
    monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    for name in ("tests", "data"):
        (tmp_path / name).symlink_to(ROOT / name)
    yield
    stop_server(load_settings())


def test_the_page_runs(own_database, vtc, capsys, tmp_path):
    (commands,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in commands.splitlines():
        quick = QUICK if line.startswith("vtc train") else ()
        done = vtc(*line.split()[1:], *quick)
        assert done.exit_code == 0, done.output
    capsys.readouterr()
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(code, "page", "exec"), {})
    assert len(capsys.readouterr().out.splitlines()) == 10
    assert (tmp_path / "larger.skops").is_file()


def test_every_feature_of_v2_is_explained():
    explained = set(re.findall(r"`(\w+)`", PAGE[PAGE.index("## Features of v2") :]))
    assert set(V2_FEATURES) <= explained


def test_numbers_of_the_page_are_those_of_the_code():
    from vtc_flows.learn.domain import FEW_ROWS
    from vtc_flows.learn.forest import search_space
    from vtc_flows.learn.training import FEWEST_TRAIN

    assert f"At least {FEWEST_TRAIN} training rows" in PAGE
    assert f"less than {FEW_ROWS} training rows" in PAGE
    for name in {**search_space(), **search_space(kind="v2")}:
        assert f"`{name}`" in PAGE
