from __future__ import annotations

import pickle
from concurrent.futures.process import BrokenProcessPool

import pytest

from vtc_flows.crystal.sources import load_structures
from vtc_flows.errors import EngineCrashError
from vtc_flows.workflow import batch
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker


@pytest.fixture
def task(structure_file):
    (record,) = load_structures([structure_file("NiO")])
    return batch.Task(record, "Ni", 1)


@pytest.fixture
def maker():
    return PolarizedXesFlowMaker(site_maker=SiteXesMaker(engine="analytic_engine:make"))


def test_where_a_bug_is_survives_the_way_between_processes(task, maker, monkeypatch):
    monkeypatch.setenv("ANALYTIC_BUG", "0")
    ((_, outcome),) = batch.run_tasks([task], maker, workers=1, listener=lambda event: None)
    arrived = pickle.loads(pickle.dumps(outcome))
    assert "NiO Ni: unexpected ZeroDivisionError: a bug" in str(arrived)
    assert "analytic_engine.py" in arrived.__notes__[0]


class _KilledPool:
    """A pool whose process the system has ended."""

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def submit(self, *_: object):
        future = batch.Future()
        future.set_exception(BrokenProcessPool("terminated abruptly"))
        return future

    def shutdown(self, **_: object) -> None:
        pass


def test_killed_worker_is_one_clear_error(task, maker, monkeypatch):
    monkeypatch.setattr(batch, "ProcessPoolExecutor", _KilledPool)
    with pytest.raises(EngineCrashError, match="fewer workers"):
        list(batch.run_tasks([task, task], maker, workers=2, listener=lambda event: None))
