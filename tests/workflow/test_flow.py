"""Jobs and flows through jobflow's own runner, with an engine that is a formula."""

from __future__ import annotations

import json

import analytic_engine
import numpy as np
import pytest
from jobflow import JobStore, OnMissing, run_locally
from maggma.stores import MemoryStore
from monty.json import MontyDecoder, MontyEncoder

from vtc_flows.errors import NoTransitionMetalError, StorageError
from vtc_flows.schemas import RecordsDoc, SamsSettings, SiteXesDoc, XesSettings
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker
from vtc_flows.workflow.progress import listening

TWO_KINDS = "triclinic_Fe2P2O7"  # two orbits of one Fe each


@pytest.fixture
def store():
    return JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})


def flow_maker(**site: object) -> PolarizedXesFlowMaker:
    return PolarizedXesFlowMaker(site_maker=SiteXesMaker(engine="analytic_engine:make", **site))


def run(flow, store) -> RecordsDoc:
    responses = run_locally(flow, store=store, log=False, raise_immediately=True)
    return responses[flow.jobs[-1].uuid][1].output


def test_one_job_for_each_orbit_and_unique_names(crystal):
    flow = flow_maker().make(crystal(TWO_KINDS), "Fe", "id-1", source="here")
    names = [job.name for job in flow.jobs]
    assert names == ["site XES Fe 0", "site XES Fe 1", "records Fe"]
    assert flow.jobs[-1].config.on_missing_references == OnMissing.NONE
    assert all(job.metadata == {"material_id": "id-1", "element": "Fe"} for job in flow.jobs)


def test_make_does_not_change_the_maker(crystal):
    maker = flow_maker(settings=XesSettings(fms_atoms=(40, 30)))
    before = json.dumps(maker.as_dict(), cls=MontyEncoder)
    maker.make(crystal("NiO"), "Ni", "NiO")
    assert json.dumps(maker.as_dict(), cls=MontyEncoder) == before


def test_maker_survives_serialization():
    maker = flow_maker(settings=XesSettings(fms_atoms=(30, 80), core_hole="none"))
    again = MontyDecoder().decode(json.dumps(maker, cls=MontyEncoder))
    assert again == maker
    assert again.site_maker.settings.fms_atoms == (30, 80)


def test_unusable_structure_is_refused_when_the_flow_is_made(crystal):
    with pytest.raises(NoTransitionMetalError):
        flow_maker().make(crystal("rocksalt_NaCl"), "Na", "NaCl")


def test_records_come_out_one_for_each_size(crystal, store, analytic):
    maker = flow_maker(settings=XesSettings(fms_atoms=(30, 80)))
    records = run(maker.make(crystal("rutile_TiO2"), "Ti", "rutile"), store).records
    assert [record.fms_atoms for record in records] == [30, 80]
    assert analytic.read_text() == "0\n"  # both from one calculation
    assert len({record.record_id for record in records}) == 2
    assert all(record.settings.fms_atoms == (record.fms_atoms,) for record in records)
    assert records[0].sites[0].n_fms_atoms == 33  # whole shells


def test_arrays_are_in_the_additional_store_alone(crystal, store, analytic):
    flow = flow_maker().make(crystal("NiO"), "Ni", "NiO")
    records = run(flow, store)
    stored = store.query_one({"uuid": flow.jobs[0].uuid}, load=False)["output"]
    tensor = stored["spectra"][0]["tensor"]
    assert set(tensor) == {"@class", "@module", "blob_uuid", "store"} or "blob_uuid" in tensor
    loaded = store.get_output(flow.jobs[0].uuid, load=True)
    spectrum = SiteXesDoc.model_validate(
        {key: value for key, value in loaded.items() if not key.startswith("@")}
    ).spectra[0]
    assert np.shape(spectrum.tensor) == (351, 6)
    np.testing.assert_allclose(
        spectrum.tensor, records.records[0].sites[0].tensor, rtol=0, atol=1e-6
    )


def test_a_site_that_fails_does_not_lose_the_others(crystal, store, analytic, monkeypatch):
    monkeypatch.setenv("ANALYTIC_FAIL", "0")
    (record,) = run(flow_maker().make(crystal(TWO_KINDS), "Fe", "x"), store).records
    assert analytic.read_text() == "0\n1\n"
    assert record.state == "incomplete"
    assert record.sams is None
    assert record.sams_crystal_max_frame is None
    assert [site.site_index for site in record.sites] == [1]
    (failure,) = record.failures
    assert (failure.site_index, failure.reason) == (0, "scf_not_converged")
    assert (failure.message, failure.log_tail) == ("it did not converge", "last line")
    assert record.features.qams > 0  # the structure alone gives them


def test_a_job_that_dies_is_a_failed_site_too(crystal, store, analytic, monkeypatch):
    monkeypatch.setenv("ANALYTIC_BUG", "1")
    flow = flow_maker().make(crystal(TWO_KINDS), "Fe", "x")
    responses = run_locally(flow, store=store, log=False)
    (record,) = responses[flow.jobs[-1].uuid][1].output.records
    assert [failure.reason for failure in record.failures] == ["job_failed"]
    assert record.sams is None


def test_a_bug_is_not_hidden(crystal, store, analytic, monkeypatch):
    monkeypatch.setenv("ANALYTIC_BUG", "0")
    with pytest.raises(ZeroDivisionError):
        run(flow_maker().make(crystal("NiO"), "Ni", "NiO"), store)


def test_site_that_cannot_have_its_cluster_is_a_failed_site(crystal, store, analytic):
    maker = flow_maker(settings=XesSettings(fms_atoms=(1500,)))
    (record,) = run(maker.make(crystal("NiO"), "Ni", "NiO"), store).records
    assert record.failures[0].reason == "cluster"
    assert "1000 atoms" in record.failures[0].message


def test_events_reach_the_listener(crystal, store, analytic, monkeypatch):
    monkeypatch.setenv("ANALYTIC_FAIL", "1")
    seen = []
    with listening(seen.append):
        run(flow_maker().make(crystal(TWO_KINDS), "Fe", "x"), store)
    assert [(event.site_index, event.stage) for event in seen] == [
        *((0, "scf"), (0, "fms"), (0, "done")),
        *((1, "scf"), (1, "failed")),
    ]


class TestKeptSites:
    @pytest.fixture
    def keep(self, tmp_path):
        return str(tmp_path / "sites")

    def test_finished_sites_are_not_computed_again(self, crystal, store, analytic, keep):
        first = run(flow_maker(cache_directory=keep).make(crystal(TWO_KINDS), "Fe", "x"), store)
        again = run(flow_maker(cache_directory=keep).make(crystal(TWO_KINDS), "Fe", "x"), store)
        assert analytic.read_text() == "0\n1\n"
        assert again.records[0].sites == first.records[0].sites

    def test_failures_are_tried_again(self, crystal, store, analytic, keep, monkeypatch):
        monkeypatch.setenv("ANALYTIC_FAIL", "1")
        run(flow_maker(cache_directory=keep).make(crystal(TWO_KINDS), "Fe", "x"), store)
        monkeypatch.delenv("ANALYTIC_FAIL")
        records = run(flow_maker(cache_directory=keep).make(crystal(TWO_KINDS), "Fe", "x"), store)
        assert analytic.read_text() == "0\n1\n1\n"
        assert records.records[0].state == "complete"

    @pytest.mark.parametrize(
        "change", [{"n_scf_atoms": 20}, {"core_hole": "none"}, {"energy_step_ev": 0.5}]
    )
    def test_other_settings_are_computed(self, crystal, store, analytic, keep, change):
        run(flow_maker(cache_directory=keep).make(crystal("NiO"), "Ni", "NiO"), store)
        changed = flow_maker(cache_directory=keep, settings=XesSettings(**change))
        run(changed.make(crystal("NiO"), "Ni", "NiO"), store)
        assert analytic.read_text() == "0\n0\n"

    def test_sites_of_an_older_revision_of_the_engine_are_computed_anew(
        self, crystal, store, analytic, keep, monkeypatch
    ):
        run(flow_maker(cache_directory=keep).make(crystal("NiO"), "Ni", "NiO"), store)
        monkeypatch.setattr(analytic_engine, "REVISION", 2)
        for _ in range(2):
            (record,) = run(
                flow_maker(cache_directory=keep).make(crystal("NiO"), "Ni", "NiO"), store
            ).records
            assert record.provenance.engine.revision == 2
        assert analytic.read_text() == "0\n0\n"

    def test_another_structure_of_that_name_is_computed(self, crystal, store, analytic, keep):
        run(flow_maker(cache_directory=keep).make(crystal("NiO"), "Ni", "x"), store)
        strained = crystal("NiO")
        strained.apply_strain([0.0, 0.0, 0.01])
        run(flow_maker(cache_directory=keep).make(strained, "Ni", "x"), store)
        assert analytic.read_text() == "0\n0\n"

    @pytest.mark.parametrize("content", ["", "{", '{"material_id": "x"}'])
    def test_damaged_file_is_made_anew(self, crystal, store, analytic, keep, tmp_path, content):
        run(flow_maker(cache_directory=keep).make(crystal("NiO"), "Ni", "NiO"), store)
        (kept,) = (tmp_path / "sites").iterdir()
        good = kept.read_text()
        kept.write_text(content)
        run(flow_maker(cache_directory=keep).make(crystal("NiO"), "Ni", "NiO"), store)
        assert analytic.read_text() == "0\n0\n"
        assert len(kept.read_text()) == pytest.approx(len(good), abs=20)

    def test_folder_that_cannot_be_written_stops_the_run(self, crystal, store, analytic, tmp_path):
        (tmp_path / "file").write_text("")
        maker = flow_maker(cache_directory=str(tmp_path / "file"))
        with pytest.raises(StorageError):
            run(maker.make(crystal("NiO"), "Ni", "NiO"), store)


def test_broadening_and_window_enter_the_id(crystal, store, analytic):
    ids = set()
    for sams_settings in (
        SamsSettings(),
        SamsSettings(fwhm_ev=1.0),
        SamsSettings(window_ev=(-20.0, 5.0)),
        SamsSettings(moment_exponent=6),
    ):
        maker = flow_maker()
        maker.sams_settings = sams_settings
        (record,) = run(maker.make(crystal("NiO"), "Ni", "NiO"), store).records
        ids.add(record.record_id)
    assert len(ids) == 4
