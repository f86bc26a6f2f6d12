from __future__ import annotations

import json

import pytest
from jobflow import Flow, JobStore, job, run_locally
from monty.json import MontyDecoder

from vtc_flows.errors import ConfigurationError
from vtc_flows.settings import load_settings
from vtc_flows.stores.collections import prepare
from vtc_flows.stores.connection import open_database
from vtc_flows.stores.jobs import BlobStore, DatabaseStore, job_store


@job(data=["tensor"])
def spectrum(height: float):
    return {"height": height, "tensor": [[height] * 6] * 300}


@job
def total(first, second):
    return first["tensor"][0][0] + second["tensor"][-1][-1]


def test_a_flow_keeps_its_arrays_apart_and_finds_them_again(database):
    prepare(database)
    one, two = spectrum(1.0), spectrum(2.0)
    last = total(one.output, two.output)
    store = job_store()
    run_locally(Flow([one, two, last]), store=store, log=False, raise_immediately=True)
    assert database.jobs.count_documents({}) == 3
    assert database["data.files"].count_documents({}) == 2
    assert set(database.jobs.find_one({"uuid": one.uuid})["output"]["tensor"]) >= {"blob_uuid"}
    assert store.get_output(one.uuid, load=True)["tensor"] == [[1.0] * 6] * 300
    assert store.get_output(last.uuid) == 3.0
    assert database["data.files"].find_one()["length"] < 1000  # compressed


def test_its_serialised_form_holds_no_address(database):
    text = json.dumps(job_store(database).as_dict())
    assert "mongodb:" not in text
    assert database.name not in text
    again = MontyDecoder().decode(text)
    assert isinstance(again, JobStore)
    assert isinstance(again.docs_store, DatabaseStore)
    assert isinstance(again.additional_stores["data"], BlobStore)
    again.connect()
    again.update({"uuid": "a", "index": 1, "output": 1})
    assert database.jobs.find_one()["uuid"] == "a"


def test_a_closed_store_leaves_the_others_their_connections(database):
    one, two = job_store(), job_store()
    one.connect()
    two.connect()
    one.close()
    assert two.count() == 0
    assert open_database(load_settings()).client is database.client
    one.connect()
    assert one.count() == 0


def test_names_show_no_password(database):
    store = job_store()
    assert (store.docs_store.name, store.name) == ("vtc-flows/jobs", "JobStore-vtc-flows/jobs")
    assert store.additional_stores["data"].name == "vtc-flows/data"


def test_without_a_database(tmp_path, monkeypatch):
    monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path))
    with pytest.raises(ConfigurationError, match="no database"):
        job_store().connect()
