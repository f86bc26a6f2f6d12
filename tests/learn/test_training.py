from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from learning import QUICK, reference, synthetic_table
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.model_selection import RandomizedSearchCV

from vtc_flows.errors import InputError, StorageError
from vtc_flows.learn.forest import search_space
from vtc_flows.learn.matrix import feature_matrix, learning_data
from vtc_flows.learn.model import model_bytes, read_model
from vtc_flows.learn.training import (
    dataset_reference,
    group_folds,
    model_id,
    model_name,
    train_model,
)
from vtc_flows.schemas.dataset import PAPER_FEATURES, V2_FEATURES
from vtc_flows.schemas.models import TrainSettings


def test_threads_order_of_rows_and_runs_change_nothing(table, model):
    order = np.random.default_rng(0).permutation(table.num_rows)
    other = train_model(table.take(pa.array(order)), reference(300), QUICK, workers=2)
    assert model_bytes(other) == model_bytes(model)
    changed = QUICK.model_copy(update={"seed": 1})
    assert model_bytes(train_model(table, reference(300), changed)) != model_bytes(model)


def test_the_search_is_that_of_scikit_learn(table, model, parts):
    train, _ = parts
    folds = group_folds(train, QUICK.n_folds, QUICK.seed)
    search = RandomizedSearchCV(
        RandomForestRegressor(random_state=QUICK.seed),
        search_space(QUICK.n_trees),
        n_iter=QUICK.n_draws,
        scoring="r2",
        cv=[(np.flatnonzero(~fold), np.flatnonzero(fold)) for fold in folds],
        random_state=QUICK.seed,
    ).fit(train.features, train.target)
    assert search.best_params_ == model.card.hyper_parameters
    assert model.card.search.cv_r2 == pytest.approx(search.best_score_, rel=1e-9)
    np.testing.assert_allclose(
        model.predict(train.features, train.elements).value,
        search.best_estimator_.predict(train.features),
        rtol=1e-9,
    )


def test_folds_hold_groups_together_and_elements_in_shares(parts):
    train, _ = parts
    folds = group_folds(train, 4, seed=0)
    assert (np.sum(folds, axis=0) == 1).all()
    for fold in folds:
        assert not set(train.groups[fold]) & set(train.groups[~fold])
        for element in set(train.elements):
            ours = train.elements == element
            assert abs(fold[ours].mean() - 0.25) < 0.1


def test_a_search_goes_on_where_it_stopped(table, model, tmp_path):
    cache = tmp_path / "folder" / "scores.jsonl"

    def stop(what: str, done: int, total: int) -> None:
        if what == "search" and done == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_model(table, reference(300), QUICK, listener=stop, cache=cache)
    kept = cache.read_text().split()
    assert len(cache.read_text().strip().splitlines()) == 1
    cache.write_text(cache.read_text() + '\n["cut o')
    again = train_model(table, reference(300), QUICK, cache=cache)
    assert model_bytes(again) == model_bytes(model)
    lines = cache.read_text().strip().splitlines()
    assert lines[0].split() == kept
    assert len(lines) == 3  # the first, the broken one, the second draw
    # what stands there is believed, and only for the same rows and folds
    key, scores = json.loads(lines[0])
    cache.write_text(f"{json.dumps([key, [2.0 for _ in scores]])}\n{lines[2]}")
    believed = train_model(table, reference(300), QUICK, cache=cache)
    assert believed.card.search.cv_r2 == 2.0
    other = train_model(table.slice(1), reference(299), QUICK, cache=cache)
    assert other.card.search.cv_r2 < 1.0


def test_a_cache_that_cannot_be_written_is_told(table, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file"):
        train_model(table, reference(300), QUICK, cache=tmp_path / "file" / "scores")


def test_too_little_to_learn_from_is_told_with_numbers(table):
    with pytest.raises(InputError, match="25 for training and 2 for tests, the table has 1"):
        train_model(table.slice(0, 20), reference(20), QUICK)
    with pytest.raises(InputError, match="the table has 0 and 0"):
        train_model(table.slice(0, 0), reference(0), QUICK)
    column = table.schema.get_field_index("split_group")
    one_group = table.set_column(
        column, table.schema.field(column), pa.array(["a"] * table.num_rows)
    )
    with pytest.raises(InputError, match="the training rows are of 1: take fewer folds"):
        train_model(one_group, reference(300), QUICK)
    with pytest.raises(InputError, match="qams is no target"):
        learning_data(table, "qams")
    with pytest.raises(InputError, match="s000000 twice"):
        learning_data(pa.concat_tables([table, table]), "sams")


def test_the_card_is_of_its_parts(table, model, parts):
    train, test = parts
    card = model.card
    assert (card.scores.train.n, card.scores.test.n) == (len(train), len(test))
    assert sum(one.test.n for one in card.by_element.values()) == len(test)
    assert sum(card.domain.elements.values()) == len(train)
    residual = test.target - model.predict(test.features, test.elements).value
    assert card.scores.test.mae == pytest.approx(np.abs(residual).mean())
    assert card.scores.test.r2 == pytest.approx(
        1 - (residual**2).sum() / ((test.target - test.target.mean()) ** 2).sum()
    )
    assert card.features == list(PAPER_FEATURES)
    assert any("training rows are few" in line for line in card.warnings)
    assert card.model_id == model_id(reference(300), QUICK)
    low, high = card.domain.ranges["density"]
    assert (low, high) == (train.features[:, 3].min(), train.features[:, 3].max())


def test_names_tell_settings_and_rows_apart():
    usual = TrainSettings()
    assert model_name("table", usual) == "table-v2-sams"
    assert model_name("table", QUICK).startswith("table-paper-sams-")
    ours = reference(300)
    assert model_id(ours, usual) != model_id(ours, QUICK)
    assert model_id(ours, usual) != model_id(ours.model_copy(update={"sha256": "1"}), usual)


def test_a_file_that_says_nothing_of_itself_is_no_data_set():
    with pytest.raises(InputError, match="does not say dataset_id"):
        dataset_reference({}, b"")


def test_rows_without_features_are_refused():
    whole = dict.fromkeys(PAPER_FEATURES, 1.0)
    with pytest.raises(InputError, match="without density"):
        feature_matrix([{key: value for key, value in whole.items() if key != "density"}])
    with pytest.raises(InputError, match="n_3d of row 1 is infinite"):
        feature_matrix([whole, whole | {"n_3d": np.inf}])
    assert feature_matrix([]).shape == (0, 8)


def test_more_rows_predict_better():
    few, many = (
        train_model(synthetic_table(n), reference(n), QUICK).card.scores.test for n in (150, 1500)
    )
    assert many.r2 > few.r2 > 0


QUICK_V2 = QUICK.model_copy(update={"kind": "v2", "n_trees": (20, 30)})


@pytest.fixture(scope="module")
def v2_table(table):
    """Return the table with a target of in12 and of symmetry."""
    rows = table.to_pylist()
    for number, row in enumerate(rows):
        row["tensor_freedom"] = float(number % 4)
        row["sams"] = (row["tensor_freedom"] > 0) * abs(0.3 * row["in12"] + 0.1 * row["q4"])
    return pa.Table.from_pylist(rows, schema=table.schema)


@pytest.fixture(scope="module")
def v2(v2_table):
    return train_model(v2_table, reference(300), QUICK_V2)


def in_32_bits(features):
    return features.astype(np.float32).astype(float)


class TestTheModelV2:
    """Boosted trees on features without frames, zero where symmetry says so."""

    def test_it_learns_and_says_by_how_much_it_errs(self, v2, v2_table):
        _, test = learning_data(v2_table, "sams", "v2")
        assert v2.card.features == list(V2_FEATURES)
        assert v2.card.scores.test.r2 > 0.5 > v2.card.baselines["paper"].test.r2
        assert v2.card.scores_not_zero.n == (~test.isotropic).sum()
        low, high = v2.card.scores.test.r2_interval
        assert low < v2.card.scores.test.r2 < high
        said = v2.predict(test.features, test.elements.tolist(), [0.9])
        widths = (said.high[0.9] - said.low[0.9])[~test.isotropic]
        assert widths.min() > 0
        assert widths.max() > 1.2 * widths.min()

    def test_what_symmetry_makes_zero_is_zero(self, v2, v2_table):
        _, test = learning_data(v2_table, "sams", "v2")
        said = v2.predict(test.features, test.elements.tolist(), [0.5])
        assert test.isotropic.any()
        for values in (said.value, said.low[0.5], said.high[0.5]):
            assert (values[test.isotropic] == 0).all()
        assert (said.value[~test.isotropic] != 0).all()

    def test_the_forest_is_what_scikit_learn_says(self, v2, v2_table):
        train, test = learning_data(v2_table, "sams", "v2")
        best = dict(v2.card.hyper_parameters)
        models = [
            HistGradientBoostingRegressor(
                **{key: value for key, value in best.items() if key != "n_seeds"},
                early_stopping=False,
                random_state=1000 * number,
            ).fit(in_32_bits(train.learned().features), train.learned().target)
            for number in range(best["n_seeds"])
        ]
        expected = np.mean([model.predict(in_32_bits(test.features)) for model in models], axis=0)
        np.testing.assert_allclose(v2.forest.values(test.features), expected, rtol=1e-6)

    def test_threads_change_nothing_and_the_file_gives_it_again(self, v2, v2_table):
        other = train_model(v2_table, reference(300), QUICK_V2, workers=2)
        assert model_bytes(other) == model_bytes(v2)
        again = read_model(model_bytes(v2))
        _, test = learning_data(v2_table, "sams", "v2")
        for one, two in zip(
            again.value_and_spread(test.features), v2.value_and_spread(test.features), strict=True
        ):
            np.testing.assert_array_equal(one, two)

    def test_records_of_older_versions_are_refused_with_a_way_out(self, table):
        rows = [{**row, "in4": None} for row in table.to_pylist()]
        older = pa.Table.from_pylist(rows, schema=table.schema)
        with pytest.raises(InputError, match=r"300 of 300 rows have no in4.*model `paper`"):
            learning_data(older, "sams", "v2")
        assert len(learning_data(older, "sams", "paper")[0]) > 200
