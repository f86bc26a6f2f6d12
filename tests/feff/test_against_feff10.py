"""The whole engine against recorded FEFF10 runs (tests/data/feff10)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BENCHMARK = ROOT / "benchmarks" / "against_feff10.py"
RECORDED = ROOT / "tests" / "data" / "feff10"


@pytest.fixture(scope="module")
def against_feff10():
    spec = importlib.util.spec_from_file_location("against_feff10", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


NAMES = sorted(path.name.removesuffix(".json.gz") for path in RECORDED.glob("*.json.gz"))


@pytest.mark.engine
@pytest.mark.parametrize("name", NAMES)
def test_spectra_and_sams_agree_with_feff10(against_feff10, name):
    found = against_feff10.compare(name)
    assert max(found.largest.values()) < 5e-4
    assert max(found.relative_l2.values()) < 5e-4
    assert found.sams[0] == pytest.approx(found.sams[1], rel=2e-3)
    assert found.fermi_ev[0] == pytest.approx(found.fermi_ev[1], abs=3e-3)


def test_there_are_recorded_runs():
    assert len(NAMES) == 7
