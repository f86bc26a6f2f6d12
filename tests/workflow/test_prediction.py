"""Predictions of crystals by a model that was trained on 59 records."""

from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import numpy as np
import pytest
import trained
from pymatgen.core import Lattice, Structure

from vtc_flows.crystal.features import features_by_element
from vtc_flows.crystal.sources import StructureRecord, load_structures
from vtc_flows.errors import InputError, NoTransitionMetalError, StorageError, VtcFlowsError
from vtc_flows.learn.model import read_model
from vtc_flows.schemas.dataset import PAPER_FEATURES
from vtc_flows.workflow import prediction as module
from vtc_flows.workflow.prediction import files_of, predict_structures
from vtc_flows.workflow.prediction_file import PredictionFile


@pytest.fixture(scope="module")
def model(mongo_server, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        made = trained.model(mongo_server.uri, patch)
    return read_model(trained.write(made, tmp_path_factory.mktemp("model") / "m.skops"))


@pytest.fixture
def records(structure_file):
    names = ["rutile_TiO2", "NiO", "triclinic_Fe2P2O7", "tenorite_CuO", "LiCoO2"]
    return list(load_structures([structure_file(name) for name in names]))


def one(structure, model, **keys):
    (found,) = predict_structures([structure], model, **keys)
    return found


def test_a_prediction_is_the_models_word_on_the_features(crystal, model):
    structure = crystal("rutile_TiO2")
    features = features_by_element(structure)["Ti"].values()
    said = model.predict([[features[name] for name in PAPER_FEATURES]], ["Ti"])
    found = one(structure, model)
    assert found.features == features
    assert (found.value, found.unit) == (said.value[0], "eV^-1/2")
    assert {each.level: (each.low, each.high) for each in found.intervals} == {
        level: (said.low[level][0], said.high[level][0]) for level in (0.5, 0.8, 0.9)
    }
    assert (found.in_domain, found.distance) == (not said.reasons[0], said.distance[0])
    assert (found.record_id, found.prototype) == ("TiO2-Ti-p8-r12", "AB2-136")
    assert found.model_id == model.card.model_id


def test_asked_one_by_one_or_all_at_once(records, model, monkeypatch):
    whole = list(predict_structures(records, model))
    assert [each.material_id for each in whole] == [each.material_id for each in records]
    monkeypatch.setattr(module, "BATCH", 2)
    assert list(predict_structures(records, model)) == whole
    assert list(predict_structures(records * 3, model, workers=2)) == whole * 3


def test_elements_and_levels(crystal, model):
    mixed = crystal("rutile_TiO2")
    mixed[0] = "V"
    assert [each.element for each in predict_structures([mixed], model)] == ["Ti", "V"]
    found = one(mixed, model, elements=["V", "Fe"], levels=[0.8])
    assert found.element == "V"
    assert [each.level for each in found.intervals] == [0.8]
    with pytest.raises(NoTransitionMetalError, match="Cu"):
        one(mixed, model, elements=["Cu"])


@pytest.mark.parametrize("workers", [1, 2])
def test_bad_crystals_are_told_one_by_one(structure_file, records, model, workers):
    bad = [
        *load_structures([structure_file("rocksalt_NaCl"), structure_file("overlapping_TiO2")]),
        StructureRecord("bug", None, "a bug", "bug"),
    ]
    mixture = [records[0], bad[0], records[1], bad[1], bad[2], records[2]]
    told = []
    found = list(
        predict_structures(
            mixture, model, workers=workers, on_problem=lambda *problem: told.append(problem)
        )
    )
    assert [each.material_id for each in found] == [each.material_id for each in records[:3]]
    assert [source for source, _ in told] == [each.source for each in bad]
    assert all(isinstance(error, VtcFlowsError) for _, error in told)
    assert "holds none of Sc ... Zn" in str(told[0][1])
    assert "unexpected TypeError" in str(told[2][1])


def test_nothing_is_read_before_it_is_needed(records, model, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 2)
    n_read = 0

    def endless():
        nonlocal n_read
        while True:
            n_read += 1
            yield records[n_read % len(records)]

    found = predict_structures(endless(), model)
    for _ in range(5):
        next(found)
    assert n_read == 6
    n_read = 0
    pooled = predict_structures(endless(), model, workers=2)
    next(pooled)
    assert n_read < 100
    pooled.close()
    assert not multiprocessing.active_children()


def test_a_molecular_crystal_is_outside(crystal, model):
    """Ferrocene: carbon and hydrogen around iron, less dense than any training row."""
    found = one(crystal("ferrocene"), model)
    assert found.element == "Fe"
    assert not found.in_domain
    assert any(reason.startswith("density 1.56") for reason in found.domain_reasons)
    assert np.isfinite(found.value)


def test_an_oxide_of_a_4d_metal_has_nothing_to_predict(model):
    oxide = Structure.from_spacegroup(
        "P4_2/mnm", Lattice.tetragonal(4.49, 3.11), ["Ru", "O"], [[0, 0, 0], [0.306, 0.306, 0]]
    )
    with pytest.raises(NoTransitionMetalError, match=r"RuO2 holds none of Sc \.\.\. Zn"):
        one(oxide, model)


def test_a_giant_cell_is_judged_by_its_crystal(crystal, model):
    small = crystal("rutile_TiO2")
    giant = small * (4, 4, 5)
    assert len(giant) == 480
    few, many = one(small, model), one(giant, model)
    assert many.value == pytest.approx(few.value, rel=1e-6)
    assert many.in_domain == few.in_domain
    # an open framework: Fe-C-N-Fe along the axes of a cube, half of its metals left out
    framework = Structure.from_spacegroup(
        "Pm-3m",
        Lattice.cubic(5.1),
        ["Fe", "C", "N"],
        [[0, 0, 0], [0.38, 0, 0], [0.5, 0.5, 0.12]],
    )
    framework.remove_species(["N"])
    framework.scale_lattice(framework.volume * 4)
    open_one = one(framework * (3, 3, 3), model)
    assert not open_one.in_domain
    assert any(reason.startswith("density") for reason in open_one.domain_reasons)


def test_an_element_that_was_never_trained_is_told(crystal, model):
    few = {name: count for name, count in model.domain.elements.items() if name != "Ti"}
    object.__setattr__(model.domain, "elements", few)
    found = one(crystal("rutile_TiO2"), model)
    assert "no training row has the absorber Ti" in found.domain_reasons


def test_folders_are_their_files(structure_file, tmp_path):
    for name in ("b.cif", "a.vasp", "POSCAR_1", "notes.txt", "c.jsonl.gz"):
        (tmp_path / name).touch()
    (tmp_path / "d.cif").mkdir()
    names = [Path(each).name for each in files_of([str(tmp_path)])]
    assert names == ["POSCAR_1", "a.vasp", "b.cif", "c.jsonl.gz"]
    assert list(files_of(["x.cif", "mp-1"])) == ["x.cif", "mp-1"]
    with pytest.raises(InputError, match="no file of structures"):
        list(files_of([str(tmp_path / "d.cif")]))


# the file that is continued


def opened(path, model, levels=(0.5, 0.8, 0.9)) -> PredictionFile:
    return PredictionFile(path, model.card.model_id, levels)


def test_a_file_is_continued(records, model, tmp_path):
    path = tmp_path / "new" / "all.jsonl"
    found = list(predict_structures(records, model))
    with opened(path, model) as file:
        assert [file.write(each) for each in found[:2]] == [True, True]
    with opened(path, model) as file:
        assert (file.n_before, file.is_repaired) == (2, False)
        assert file.has(found[0].material_id, ["Ti"])
        assert not file.has(found[0].material_id, ["Ti", "V"])
        assert not file.has(found[0].material_id, [])
        assert [file.write(each) for each in found] == [False, False, True, True, True]
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        each.model_dump(mode="json") for each in found
    ]


@pytest.mark.parametrize("left", [1, 5, 40, 300])
def test_a_torn_last_line_is_repaired(records, model, tmp_path, left):
    path = tmp_path / "all.jsonl"
    first, second = predict_structures(records[:2], model)
    with opened(path, model) as file:
        file.write(first)
        whole = path.read_bytes()
        file.write(second)
    path.write_bytes(path.read_bytes()[: len(whole) + left])
    with opened(path, model) as file:
        assert file.is_repaired
        assert not file.has(second.material_id, [second.element])
        assert path.read_bytes() == whole
        file.write(second)
    assert len(path.read_text().splitlines()) == 2


def test_what_is_no_file_of_these_predictions_is_left_alone(records, model, tmp_path):
    path = tmp_path / "all.jsonl"
    (found,) = predict_structures(records[:1], model)
    for content, says in (
        ("TiO2", "line 1 is no prediction"),
        ("TiO2\n1.0\n", "line 1 is no prediction"),
        (f"{found.model_dump_json()}\n[]\n", "line 2 is no prediction"),
        (f'{{"record_id":\n{found.model_dump_json()}\n', "line 1 is no prediction"),
        (found.model_copy(update={"model_id": "x"}).model_dump_json() + "\n", "of the model x"),
        (found.model_copy(update={"intervals": []}).model_dump_json() + "\n", "levels"),
    ):
        path.write_text(content)
        with pytest.raises(InputError, match=says):
            opened(path, model)
        assert path.read_text() == content
    with pytest.raises(InputError, match="unpacked"):
        opened(tmp_path / "all.jsonl.gz", model)
    with pytest.raises(StorageError, match="cannot be written"):
        opened(tmp_path, model)


def test_two_do_not_write_one_file(model, tmp_path):
    with (
        opened(tmp_path / "all.jsonl", model),
        pytest.raises(StorageError, match="another process"),
    ):
        opened(tmp_path / "all.jsonl", model)
