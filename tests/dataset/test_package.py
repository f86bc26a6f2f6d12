"""A data set: packed, loaded, verified, fetched, learned from, put into the database."""

import functools
import gzip
import http.server
import json
import threading

import numpy as np
import pytest
from dataset_of_few import ORDER, put_sites

import vtc_flows
from vtc_flows.dataset.fetching import fetch_dataset
from vtc_flows.dataset.layout import Layout, find_dataset
from vtc_flows.dataset.loading import load_dataset
from vtc_flows.dataset.packing import files_in, pack, read_card, verify
from vtc_flows.dataset.tables import learning_table
from vtc_flows.errors import InputError
from vtc_flows.learn.matrix import learning_data
from vtc_flows.settings import load_settings


def nothing(*_):
    """Tell nobody."""


@pytest.fixture(scope="module")
def layout(tmp_path_factory):
    """Return a data set of a few crystals with analytic spectra, one of them in the test part."""
    layout = Layout(tmp_path_factory.mktemp("data"))
    lines = put_sites(layout.sites)
    packed = pack(layout, lines, nothing)
    assert (packed.n_records, packed.problems) == (len(ORDER), ())
    return layout


@pytest.fixture
def copy(layout, tmp_path):
    target = Layout(tmp_path / "copy")
    assert fetch_dataset(str(layout.folder), target, nothing) == len(layout.files())
    return target


def test_several_processes_make_the_same_files(layout, tmp_path):
    other = Layout(tmp_path)
    lines = put_sites(other.sites)
    pack(other, lines, nothing, workers=2)
    for path in layout.files():
        if path.parent == layout.folder:
            assert (tmp_path / path.name).read_bytes() == path.read_bytes()


def test_the_loader_gives_records_tensors_and_crystals(layout):
    data = vtc_flows.load_dataset(layout.folder)
    records = data.records()
    assert records.num_rows == len(ORDER)
    assert set(records["part"].to_pylist()) == {"train", "test"}
    assert data.records("test").num_rows == 1
    assert data.records(fms_atoms=None).num_rows > records.num_rows
    with pytest.raises(InputError, match="no part"):
        data.records("tets")
    tensors = list(data.tensors())
    assert {(one.material_id, one.element) for one in tensors} == {
        (row["material_id"], row["element"]) for row in records.to_pylist()
    }
    one = tensors[0]
    assert one.tensor.shape == (len(one.energy_ev), 6)
    assert np.abs(one.energy_ev).min() < 1e-6  # the Fermi level is a point of the grid
    assert all(each.fms_atoms == 30 for each in data.tensors(fms_atoms=30))
    assert all(each.element == "Fe" for each in data.tensors(element="Fe"))
    assert data.structure(one.material_id)[one.site_index].specie.symbol == one.element
    with pytest.raises(InputError, match="no crystal mp-0"):
        data.structure("mp-0")


def test_records_are_made_again_for_the_database(layout):
    data = load_dataset(layout.folder)
    found = {record.record_id: record for record in data.sams_records()}
    for row in data.records(fms_atoms=None).to_pylist():
        record = found[row["record_id"]]
        assert record.sams == row["sams"]
        assert record.sites[0].tensor
    again = {record.record_id: record for record in data.sams_records()}
    assert again == found  # made again they are the same: nothing is written twice


def test_a_data_set_is_found_without_a_name(layout, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path / "own"))
    with pytest.raises(InputError, match="vtc data fetch"):
        find_dataset()
    monkeypatch.setenv("VTC_DATASET_DIRECTORY", str(layout.folder))
    assert find_dataset().folder == layout.folder
    monkeypatch.delenv("VTC_DATASET_DIRECTORY")
    target = Layout(load_settings().data_directory / "dataset")
    fetch_dataset(str(layout.folder), target, nothing)
    assert load_dataset().records().num_rows == len(ORDER)


def test_a_whole_data_set_is_verified_and_a_damaged_one_named(copy):
    assert verify(copy) == []
    (shard,) = copy.sites.glob("*.parquet")
    shard.write_bytes(shard.read_bytes()[:-7])
    (copy.sites / "sites-9of9-00001.parquet").write_bytes(b"no table")
    said = " | ".join(verify(copy))
    assert f"{shard.name} is another file than the card's" in said
    assert "sites-9of9-00001.parquet is not in the card" in said
    assert "cannot be read" in said
    copy.records.unlink()
    assert "records.parquet is missing" in " | ".join(verify(copy))


def test_fetching_goes_on_and_takes_no_other_file(layout, tmp_path):
    target = Layout(tmp_path / "fetched")
    with _served(layout.folder) as address:
        assert fetch_dataset(address, target, nothing) == len(layout.files())
        target.structures.write_bytes(b"half")
        assert fetch_dataset(address, target, nothing) == 1
    assert verify(target) == []
    target.structures.write_bytes(b"another")
    with pytest.raises(InputError, match=r"structures.jsonl.gz .* not the file"):
        fetch_dataset(str(target.folder), Layout(tmp_path / "third"), nothing)
    card = read_card(target)
    card["distribution"][0]["contentUrl"] = "../outside"
    target.card.write_text(json.dumps(card))
    with pytest.raises(InputError, match=r"\.\./outside, which is outside"):
        fetch_dataset(str(target.folder), Layout(tmp_path / "fourth"), nothing)
    with pytest.raises(InputError, match=r"croissant.json of .* cannot be read"):
        fetch_dataset(str(tmp_path / "nowhere"), Layout(tmp_path / "fifth"), nothing)


def test_the_card_names_every_file_and_column(layout):
    card = read_card(layout)
    assert set(files_in(card)) == {
        path.relative_to(layout.folder).as_posix() for path in layout.files()
    }
    fields = {field["name"] for field in card["recordSet"][0]["field"]}
    assert {"sams", "anisotropy_2ev", "in12", "formula"} <= fields
    assert card["license"].endswith("by/4.0/")


def test_crystals_stand_there_without_anything_else(layout):
    with gzip.open(layout.structures, "rt") as lines:
        for line in lines:
            assert set(json.loads(line)) == {"id", "structure"}


def test_a_table_to_learn_from_keeps_the_parts(layout):
    table = learning_table(load_dataset(layout.folder).all_records())
    train, test = learning_data(table, "anisotropy_2ev", "v2")
    assert (len(train), len(test)) == (len(ORDER) - 1, 1)
    assert np.isfinite(train.features).all()
    with pytest.raises(InputError, match="no complete record with 99"):
        learning_table(load_dataset(layout.folder).all_records(), 99)


class _served:
    """A folder on the web, at an address of this machine."""

    def __init__(self, folder):
        handler = functools.partial(_Quiet, directory=str(folder))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""
