"""The page that computes three records by hand, run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from vtc_flows.settings import load_settings
from vtc_flows.stores.local_server import stop_server

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/by-hand.md").read_text(encoding="utf-8")


@pytest.fixture
def own_database(tmp_path, mongo_server, monkeypatch):
    monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path))
    monkeypatch.chdir(ROOT)
    yield
    stop_server(load_settings())


@pytest.mark.filterwarnings("ignore:Set OLD_ERROR_HANDLING:DeprecationWarning")  # pymatgen's
def test_three_records_by_hand(own_database, vtc, capsys):
    (commands,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for line in commands.splitlines():
        done = vtc(*line.split()[1:])
        assert done.exit_code == 0, done.output
    capsys.readouterr()
    exec(
        compile("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)), "page", "exec"), {}
    )
    printed = capsys.readouterr().out
    assert len(printed.splitlines()) == 12
    (shown,) = re.findall(r"in the table:\n\n```\n(.*?)```", PAGE, re.DOTALL)
    # the last digits are the machine's
    assert [line[:27] for line in shown.splitlines()] == [
        line[:27] for line in printed.splitlines()
    ]
