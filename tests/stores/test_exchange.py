"""Records in files: whole or not at all, and the same when they come back."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from vtc_flows.errors import InputError, StorageError
from vtc_flows.physics.sams import gram, sams
from vtc_flows.schemas import SamsRecord, XesSettings
from vtc_flows.stores.exchange import read_records, write_records
from vtc_flows.workflow.batch import plan, run_task
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker

CAMPAIGN = Path(__file__).parents[1] / "data/campaign/records.jsonl.gz"


@pytest.fixture
def records(analytic, structure_file) -> list[SamsRecord]:
    settings = XesSettings(fms_atoms=(12, 20))
    made = PolarizedXesFlowMaker(
        site_maker=SiteXesMaker(engine="analytic_engine:make", settings=settings)
    )
    todo = plan([str(structure_file("triclinic_Fe2P2O7"))], [], made.site_maker.settings)
    return [record for task in todo.tasks for record in run_task(task, made)]


@pytest.mark.parametrize("name", ["all.jsonl", "all.jsonl.gz", "new/folder/all.jsonl"])
def test_what_was_written_is_read(records, tmp_path, name):
    assert write_records(tmp_path / name, iter(records)) == len(records) == 2
    assert list(read_records(tmp_path / name)) == records
    assert not list((tmp_path / name).parent.glob(".*"))


def test_equal_records_make_equal_files(records, tmp_path):
    for name in ("one.gz", "two.gz"):
        write_records(tmp_path / name, records)
    assert (tmp_path / "one.gz").read_bytes() == (tmp_path / "two.gz").read_bytes()


def test_a_source_that_breaks_leaves_the_former_file(records, tmp_path):
    path = tmp_path / "all.jsonl"
    write_records(path, records)
    before = path.read_bytes()

    def broken():
        yield records[0]
        raise StorageError("the database is away")

    with pytest.raises(StorageError, match="away"):
        write_records(path, broken())
    assert path.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_cannot_be_made(records, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="could not be written"):
        write_records(tmp_path / "file/all.jsonl", records)


def test_a_line_that_is_no_record_is_named(records, tmp_path):
    path = tmp_path / "all.jsonl"
    write_records(path, records)
    path.write_bytes(path.read_bytes() + b'\n{"name": "bread"}\n')
    with pytest.raises(InputError, match="line 4 is no record"):
        list(read_records(path))


def test_a_file_that_is_cut_off(records, tmp_path):
    path = tmp_path / "all.jsonl.gz"
    write_records(path, records)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="cannot be read after line"):
        list(read_records(path))
    path.write_bytes(b"no gzip")
    with pytest.raises(InputError, match="cannot be read"):
        list(read_records(path))


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        list(read_records(tmp_path / "none.jsonl"))


def test_out_of_the_database_and_back(records, database, vtc, tmp_path):
    from vtc_flows.stores.records import load_records, save_record

    for record in records:
        save_record(database, record)
    file = tmp_path / "all.jsonl.gz"
    result = vtc("export", file)
    assert result.exit_code == 0
    assert result.output.startswith("2 records of ")
    with gzip.open(file, "rt") as lines:
        assert len(lines.readlines()) == 2
    assert vtc("export", tmp_path / "one.jsonl", "--query", '{"fms_atoms": 20}').exit_code == 0
    assert [r.fms_atoms for r in read_records(tmp_path / "one.jsonl")] == [20]

    database.client.drop_database(database.name)
    assert "2 records restored, 0 there already" in vtc("restore", file).output
    assert "0 records restored, 2 there already" in vtc("restore", file).output
    assert list(load_records(database)) == sorted(records, key=lambda record: record.record_id)


def test_queries_that_are_none(database, vtc, tmp_path):
    for query, message in (("{", "is no JSON"), ("[1]", "is a JSON object")):
        result = vtc("export", tmp_path / "all.jsonl", "--query", query)
        assert result.exit_code == 2
        assert message in result.output


def test_the_campaign_is_whole():
    """Every record of the dump is read, and its SAMS follows from its tensors."""
    campaign = list(read_records(CAMPAIGN))
    assert len({record.record_id for record in campaign}) == len(campaign) == 120
    for record in campaign:
        whole = record.state == "complete"
        assert whole == (record.sams is not None) == (not record.failures)
        values = []
        for site in record.sites:
            energy = np.array(site.energy_ev) - site.e_fermi_ev
            form = gram(energy, np.array(site.tensor), record.window_ev)
            values += [sams(form, np.array(site.own_frame))] * site.multiplicity
        if whole:
            assert record.sams_site == pytest.approx(np.mean(values), rel=1e-9, abs=1e-12)
