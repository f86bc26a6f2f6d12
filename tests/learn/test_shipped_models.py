"""The models that come with the package: they load, and are as good as the page says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vtc_flows.dataset.loading import load_dataset
from vtc_flows.dataset.tables import learning_table
from vtc_flows.errors import InputError
from vtc_flows.learn.evaluation import part_scores
from vtc_flows.learn.matrix import learning_data
from vtc_flows.learn.shipped_models import SHIPPED_TARGETS, shipped_model

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "src/vtc_flows/learn/shipped"


@pytest.fixture(scope="module")
def table():
    return learning_table(load_dataset(ROOT / "data").all_records())


@pytest.mark.parametrize("target", SHIPPED_TARGETS)
def test_they_predict_the_test_part_as_their_cards_say(target, table):
    model = shipped_model(target)
    _, test = learning_data(table, target, "v2")
    said = model.predict(test.features, test.elements.tolist(), [0.8])
    scores = part_scores(test.target, said.value)
    assert scores.r2 == pytest.approx(model.card.scores.test.r2, abs=1e-6)
    assert scores.r2 > 0.8
    held = (test.target >= said.low[0.8]) & (test.target <= said.high[0.8])
    assert 0.72 < held.mean() < 0.88
    assert np.mean([not each for each in said.reasons]) > 0.9


def test_no_row_of_the_test_part_was_learned(table):
    parts = dict(zip(table["record_id"].to_pylist(), table["split"].to_pylist(), strict=True))
    formulas = {part: set() for part in ("train", "test")}
    for row in table.to_pylist():
        formulas[row["split"]].add(row["formula"])
    assert not formulas["train"] & formulas["test"]
    for target in SHIPPED_TARGETS:
        card = shipped_model(target).card
        n_test = sum(part == "test" for part in parts.values())
        assert card.scores.test.n == n_test
        assert card.scores.train.n + n_test == card.dataset.n_rows


def test_all_of_them_together_are_small():
    assert {path.name for path in FOLDER.iterdir()} == {
        f"v2-{name}.skops" for name in SHIPPED_TARGETS
    }
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 5 * 1024**2


def test_no_other_target_has_one():
    with pytest.raises(InputError, match="vtc train --target sams_site"):
        shipped_model("sams_site")


def test_the_command_needs_no_model_and_no_database(vtc, monkeypatch):
    monkeypatch.setenv("VTC_DATABASE_URI", "mongodb://127.0.0.1:1")
    done = vtc("predict", ROOT / "examples/rutile.cif")
    assert done.exit_code == 0, done.output
    assert "frame-free anisotropy A at 2 eV" in done.output
    assert "inside" in done.output
    other = vtc("predict", ROOT / "examples/rutile.cif", "--target", "sams_crystal")
    assert "SAMS of the crystal's sum" in other.output
    both = vtc("predict", ROOT / "examples/rutile.cif", "--target", "sams", "--model", "a.skops")
    assert (both.exit_code, "leave --model or --target out" in both.output) == (2, True)
