"""What is no model of ours is refused with one clear line, and nothing of it is ever run."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import zipfile

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestRegressor

from vtc_flows.errors import InputError
from vtc_flows.learn.model import model_bytes, read_model
from vtc_flows.learn.model_file import pack, seal, unpack


@pytest.fixture(scope="module")
def content(model) -> bytes:
    return model_bytes(model)


class Bomb:
    """Touches a file wherever it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


def refused(content, says: str | None = None) -> str:
    with pytest.raises(InputError, match=says) as caught:
        read_model(content)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed(content: bytes, edit) -> bytes:
    """Return a file with its schema and arrays edited, and with a digest that is right."""
    with zipfile.ZipFile(io.BytesIO(content)) as file:
        parts = {name: file.read(name) for name in file.namelist()}
    schema = json.loads(parts["schema.json"])
    edit(schema, parts)
    parts["schema.json"] = json.dumps(schema).encode()
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        for name, part in parts.items():
            file.writestr(name, part)
    return seal(target.getvalue())


def array_node(schema, name: str):
    return schema["content"]["arrays"]["content"][name]


def array_bytes(values) -> bytes:
    target = io.BytesIO()
    np.save(target, values)
    return target.getvalue()


def test_there_and_back(model, content, parts, tmp_path):
    path = tmp_path / "model.skops"
    path.write_bytes(content)
    again = read_model(path)
    assert model_bytes(again) == content
    rows, elements = parts[1].features, parts[1].elements.tolist()
    one, other = model.predict(rows, elements), again.predict(rows, elements)
    assert (one.value == other.value).all()
    assert (one.distance == other.distance).all()
    assert all((one.low[level] == other.low[level]).all() for level in one.low)
    assert one.reasons == other.reasons
    assert skops.io.get_untrusted_types(data=content) == []  # any reader of skops opens it
    assert again.predict(np.zeros((0, 8)), []).value.shape == (0,)
    with pytest.raises(InputError, match="1 rows of features and 2 elements"):
        again.predict(rows[:1], ["Ti", "Fe"])


def test_every_changed_byte_is_noticed(content):
    rng = np.random.default_rng(0)
    places = {0, 1, len(content) - 1, *rng.integers(0, len(content), 300).tolist()}
    for place in places:
        damaged = bytearray(content)
        damaged[place] ^= 1 << int(rng.integers(8))
        refused(bytes(damaged))


def test_what_is_cut_off_is_no_model(content):
    for length in (0, 1, 100, len(content) // 2, len(content) - 1):
        refused(content[:length], "no model file")
    refused(content + b"x", "no model file")


def test_a_missing_file_is_told(tmp_path):
    refused(tmp_path / "none.skops", "No such file")
    refused(tmp_path, "directory")


@pytest.mark.parametrize("disguise", ["plain", "zip"])
def test_a_pickle_in_disguise_is_not_unpickled(tmp_path, disguise):
    mark = tmp_path / "executed"
    content = pickle.dumps(Bomb(mark))
    if disguise == "zip":
        target = io.BytesIO()
        with zipfile.ZipFile(target, "w") as file:
            file.writestr("schema.json", content)
        content = seal(target.getvalue())
    refused(content, "no model")
    assert not mark.exists()
    pickle.loads(content) if disguise == "plain" else None
    assert mark.exists() == (disguise == "plain")  # it would have worked


def test_a_pickle_in_an_array_is_not_unpickled(content, tmp_path):
    mark = tmp_path / "executed"
    target = io.BytesIO()
    np.save(target, np.array([Bomb(mark)], dtype=object), allow_pickle=True)

    def edit(schema, parts):
        parts[array_node(schema, "forest_value")["file"]] = target.getvalue()

    refused(changed(content, edit), "no model can be read")
    assert not mark.exists()


def test_a_command_in_a_file_of_skops_is_not_run(tmp_path):
    mark = tmp_path / "executed"
    command = functools.partial(os.system, f"touch {mark}")
    says = refused(seal(skops.io.dumps({"text": "{}", "arrays": command})), "nothing of it was run")
    assert "functools.partial" in says
    assert "posix.system" in says or "os.system" in says or "system" in says
    assert not mark.exists()


@pytest.mark.parametrize(
    "node",
    [
        {"__class__": "system", "__module__": "os", "__loader__": "FunctionNode"},
        {"__class__": "ndarray", "__module__": "numpy", "__loader__": "ObjectNode"},
        {"__class__": "dict", "__module__": "os", "__loader__": "DictNode"},
        {"__class__": "str", "__module__": "builtins", "__loader__": "MethodNode"},
    ],
)
def test_an_exchanged_type_is_refused_by_name(content, node):
    def edit(schema, parts):
        array_node(schema, "forest_value").update(node)

    assert f"{node['__module__']}.{node['__class__']}" in refused(changed(content, edit))


def test_reduce_is_refused_wherever_it_stands(content):
    def edit(schema, parts):
        array_node(schema, "forest_value")["__reduce__"] = {"args": []}

    refused(changed(content, edit), "refused")


def test_not_even_scikit_learns_own_types_are_read():
    forest = RandomForestRegressor(n_estimators=1).fit([[0.0], [1.0]], [0.0, 1.0])
    says = refused(seal(skops.io.dumps({"text": "{}", "arrays": {"forest": forest}})))
    assert "sklearn.ensemble._forest.RandomForestRegressor" in says
    assert "sklearn.tree._tree.Tree" in says


def edited_arrays(content: bytes, **edits) -> bytes:
    text, arrays = unpack(content)
    for name, edit in edits.items():
        if edit is None:
            del arrays[name]
        else:
            arrays[name] = edit(arrays[name].copy())
    return pack(text, arrays)


def put(place, value):
    def edit(array):
        array[place] = value
        return array

    return edit


@pytest.mark.parametrize(
    ("edits", "says"),
    [
        ({"forest_left": put(0, 10**9)}, "leads nowhere"),
        ({"forest_left": put(0, 0)}, "leads nowhere"),
        ({"forest_feature": put(0, 10**9)}, "leads nowhere"),
        ({"forest_starts": lambda a: a[:-1]}, "do not fit"),
        ({"forest_left": lambda a: a.astype(float)}, "float64"),
        ({"forest_value": lambda a: a * 2}, "predicts otherwise"),
        ({"forest_threshold": lambda a: a + 0.3}, "predicts otherwise"),
        ({"probe_value": None}, "predicts otherwise"),
        ({"forest_value": None}, "lacks forest_value"),
        ({"domain_points": lambda a: a[:, :3]}, "no training rows"),
        ({"domain_points": put((0, 0), np.nan)}, "not finite"),
        ({"domain_center": lambda a: a[:3]}, "does not fit"),
        ({"domain_limit": put(0, np.inf)}, "no number"),
        ({"calibration_scores": lambda a: a[::-1].copy()}, "calibration"),
    ],
)
def test_arrays_that_do_not_make_a_model_are_refused(content, edits, says):
    refused(edited_arrays(content, **edits), says)


def with_card(content: bytes, edit) -> bytes:
    text, arrays = unpack(content)
    card = json.loads(text)
    edit(card)
    return pack(json.dumps(card), arrays)


def test_a_card_of_another_version_is_told(content):
    refused(with_card(content, lambda card: card.update(further=1)), "further.*vtc train")
    refused(pack("no card", {}), "card")


def test_versions_of_scikit_learn(content):
    def other(card):
        card["versions"]["scikit-learn"] = "0.24"

    with pytest.warns(UserWarning, match=r"made with scikit-learn 0\.24"):
        read_model(with_card(content, other))
    text, arrays = unpack(with_card(content, other))
    arrays["probe_value"] = arrays["probe_value"] * 1.001
    refused(pack(text, arrays), r"made with scikit-learn 0\.24 and predicts otherwise")


def test_a_small_file_that_unfolds_into_a_large_one_is_refused(content, monkeypatch):
    monkeypatch.setattr("vtc_flows.learn.model_file._MOST_BYTES", 1000)
    refused(content, "unfolds")


def test_arrays_of_anything_but_numbers_are_refused(content):
    def edit(schema, parts):
        parts[array_node(schema, "forest_value")["file"]] = array_bytes(np.array(["a"]))

    refused(changed(content, edit), "not of numbers")
    refused(seal(skops.io.dumps({"text": "x"})), "holds no model")
    refused(seal(skops.io.dumps(["x"])), "holds no model")
