from __future__ import annotations

import json

import numpy as np
import pyarrow as pa
import pytest
from learning import QUICK, reference, synthetic_table
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import RandomizedSearchCV

from vtc_flows.errors import InputError, StorageError
from vtc_flows.learn.forest import search_space
from vtc_flows.learn.matrix import feature_matrix, learning_data
from vtc_flows.learn.model import model_bytes
from vtc_flows.learn.training import (
    dataset_reference,
    group_folds,
    model_id,
    model_name,
    train_model,
)
from vtc_flows.schemas.dataset import FEATURES
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
    assert card.features == list(FEATURES)
    assert any("training rows are few" in line for line in card.warnings)
    assert card.model_id == model_id(reference(300), QUICK)
    low, high = card.domain.ranges["density"]
    assert (low, high) == (train.features[:, 3].min(), train.features[:, 3].max())


def test_names_tell_settings_and_rows_apart():
    usual = TrainSettings()
    assert model_name("table", usual) == "table-sams"
    assert model_name("table", QUICK).startswith("table-sams-")
    ours = reference(300)
    assert model_id(ours, usual) != model_id(ours, QUICK)
    assert model_id(ours, usual) != model_id(ours.model_copy(update={"sha256": "1"}), usual)


def test_a_file_that_says_nothing_of_itself_is_no_data_set():
    with pytest.raises(InputError, match="does not say dataset_id"):
        dataset_reference({}, b"")


def test_rows_without_features_are_refused():
    whole = dict.fromkeys(FEATURES, 1.0)
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
