"""The whole engine against recorded FEFF10 runs (tests/data/feff10)."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "against_feff10.py"


@pytest.fixture(scope="module")
def against_feff10():
    spec = importlib.util.spec_from_file_location("against_feff10", BENCHMARK)
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules[spec.name] = module  # its dataclass looks itself up
    spec.loader.exec_module(module)
    return module


@pytest.mark.engine
@pytest.mark.parametrize(
    ("name", "largest"), [("rutile_TiO2", 2e-3), ("wurtzite_ZnO", 2e-3), ("tenorite_CuO", 1e-2)]
)
def test_spectra_and_sams_agree_with_feff10(against_feff10, name, largest):
    found = against_feff10.compare(name)
    assert max(found.largest.values()) < largest
    assert max(found.relative_l2.values()) < largest
    assert found.sams[0] == pytest.approx(found.sams[1], rel=0.02)
    assert found.fermi_ev[0] == pytest.approx(found.fermi_ev[1], abs=0.03)
