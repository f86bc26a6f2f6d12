"""Radial solutions in batches are FEFF's own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.feff.test_feff8l import octahedron

from vtc_flows.feff.discovery import find_feff8l
from vtc_flows.feff.radial import norman_weights, radii_to
from vtc_flows.settings import load_settings

ROOT = Path(__file__).parents[2]


@pytest.mark.engine
def test_batches_give_what_feff_gives_energy_by_energy(tmp_path):
    library = find_feff8l(load_settings()).library
    if library is None:
        pytest.skip("no library of FEFF 8.5L here")
    (tmp_path / "site.json").write_text(octahedron().to_json())
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/support/radial_process.py"), str(library), "site.json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    worst = json.loads(done.stdout.splitlines()[-1])
    assert set(worst) == {
        "scattered", "embedded", "scattered_density", "embedded_density", "phases",
    }  # fmt: skip
    assert max(worst.values()) < 1e-9, worst


@pytest.mark.parametrize("power", [1, 2, 4, 8])
@pytest.mark.parametrize("radius", [1.3, 2.0, 2.04])
def test_norman_weights_integrate_powers(power, radius):
    weights = norman_weights(radius, power)
    radii = np.exp(-8.8 + 0.05 * np.arange(len(weights)))
    found = weights @ radii**power
    assert found == pytest.approx(
        radius ** (power + 1) / (power + 1), rel=1e-3 if power > 2 else 2e-5
    )


def test_points_within_a_radius():
    assert radii_to(np.exp(-8.8 + 0.05 * 180) * 1.001) == 181
    assert radii_to(np.exp(-8.8 + 0.05 * 180) * 0.999) == 180
