"""A failed site's document, and what of it is needed to see the site fail again."""

from __future__ import annotations

import json

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core.structure import Structure

from vtc_flows import __version__
from vtc_flows.feff.cluster_input import site_input
from vtc_flows.feff.discovery import find_feff8l
from vtc_flows.feff.feff8l import Feff8lEngine
from vtc_flows.feff.recovery import FEFF8L_LADDER
from vtc_flows.feff.site_input import SiteInput
from vtc_flows.schemas import RecordsDoc, SiteXesDoc, XesSettings, settings_hash
from vtc_flows.settings import load_settings
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker, site_cluster
from vtc_flows.workflow.submission import prepare_submission, submit


def site_document(structure, index, engine, settings) -> SiteXesDoc:
    """Run a site's job as jobflow does; return what the store keeps, as JSON and back."""
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    job = SiteXesMaker(engine=engine, settings=settings).make(structure, index, "id-1", source="x")
    run_locally(job, store=store, log=False, raise_immediately=True)
    output = store.get_output(job.uuid, load=True)
    plain = {key: value for key, value in output.items() if not key.startswith("@")}
    return SiteXesDoc.model_validate_json(json.dumps(plain))


def again(document: SiteXesDoc, engine: str) -> SiteXesDoc:
    """Run the site of a failed document once more, from nothing but the document."""
    failure = document.failure
    structure = Structure.from_dict(failure.provenance.structure)
    return site_document(structure, failure.site_index, engine, failure.settings)


def without_time(document: SiteXesDoc) -> dict:
    content = document.model_dump()
    for spectrum in (*content["spectra"], *([content["failure"]] if content["failure"] else [])):
        del spectrum["provenance"]["created_at"]
    return content


SETTINGS = XesSettings(fms_atoms=(20, 30), scf_mixing=0.1, n_scf_atoms=20)


def test_a_failure_comes_back_from_its_document_alone(crystal, analytic, monkeypatch):
    monkeypatch.setenv("ANALYTIC_STUBBORN", "99")
    document = site_document(crystal("NiO"), 0, "stubborn_engine:make", SETTINGS)
    failure = document.failure
    assert document.engine == "stubborn"
    assert failure.reason == "scf_not_converged"
    assert [one.step for one in failure.attempts] == [step.name for step in FEFF8L_LADDER]
    assert {one.reason for one in failure.attempts} == {"scf_not_converged"}
    assert failure.settings == SETTINGS
    assert failure.run_dir is None
    assert failure.provenance.package_version == __version__
    assert failure.provenance.engine.name == "stubborn"
    assert failure.provenance.settings_hash == settings_hash(SETTINGS)
    assert failure.provenance.source == "x"
    # the input of the last try, with what its step had changed
    asked = site_input(site_cluster(crystal("NiO"), 0, SETTINGS), SETTINGS)
    assert SiteInput.from_json(failure.engine_input) == FEFF8L_LADDER[-1].change(asked)
    assert without_time(again(document, "stubborn_engine:make")) == without_time(document)


def test_a_failure_without_an_engine_comes_back_too(crystal, analytic):
    settings = XesSettings(fms_atoms=(1500,))
    document = site_document(crystal("NiO"), 0, "analytic_engine:make", settings)
    assert document.failure.reason == "cluster"
    assert (document.failure.attempts, document.failure.engine_input) == ([], "")
    assert without_time(again(document, "analytic_engine:make")) == without_time(document)


def test_a_spectrum_tells_of_the_tries_before_it(crystal, analytic, monkeypatch):
    monkeypatch.setenv("ANALYTIC_STUBBORN", "2")
    document = site_document(crystal("NiO"), 0, "stubborn_engine:make", SETTINGS)
    assert document.state == "successful"
    for spectrum in document.spectra:
        assert spectrum.scf.recovery == "through bad counts"
        assert [one.step for one in spectrum.scf.attempts] == ["none", "centered separation"]
        assert spectrum.scf.charges_e == [0.5, -0.5]
        assert spectrum.checks == {"a": 0.5}
        assert SiteInput.from_json(spectrum.engine_input).scf.mixing == SETTINGS.scf_mixing / 2


def test_records_carry_it_on(crystal, analytic, monkeypatch):
    monkeypatch.setenv("ANALYTIC_STUBBORN", "1")
    maker = PolarizedXesFlowMaker(site_maker=SiteXesMaker(engine="stubborn_engine:make"))
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})

    def records() -> RecordsDoc:
        flow = maker.make(crystal("NiO"), "Ni", "NiO")
        responses = run_locally(flow, store=store, log=False, raise_immediately=True)
        return RecordsDoc.model_validate_json(
            responses[flow.jobs[-1].uuid][1].output.model_dump_json()
        )

    (site,) = records().records[0].sites
    assert (site.scf.recovery, len(site.scf.attempts)) == ("centered separation", 1)
    assert site.checks == {"a": 0.5}
    assert SiteInput.from_json(site.engine_input).scf.mixing == 0.05
    monkeypatch.setenv("ANALYTIC_STUBBORN", "99")
    (failure,) = records().records[0].failures
    assert len(failure.attempts) == len(FEFF8L_LADDER)
    assert Structure.from_dict(failure.provenance.structure) == crystal("NiO")


def test_documents_of_the_version_before_are_still_read(crystal, analytic, monkeypatch):
    for tries in ("0", "99"):
        monkeypatch.setenv("ANALYTIC_STUBBORN", tries)
        content = site_document(crystal("NiO"), 0, "stubborn_engine:make", SETTINGS).model_dump()
        for spectrum in content["spectra"]:
            del spectrum["checks"], spectrum["engine_input"]
            del spectrum["scf"]["attempts"], spectrum["scf"]["charges_e"]
        if content["failure"]:
            for name in ("attempts", "engine_input", "run_dir", "settings", "provenance"):
                del content["failure"][name]
        document = SiteXesDoc.model_validate(content)
        assert document.failure is None or document.failure.provenance is None


@pytest.mark.engine
def test_a_real_failure_comes_back_from_its_document_alone(crystal):
    """Two iterations cannot converge; the input alone brings the same failure, and so does all."""
    settings = XesSettings(scf_max_iterations=2)
    document = site_document(crystal("rutile_TiO2"), 0, "one_step_feff8l:make", settings)
    failure = document.failure
    assert failure.reason == "scf_not_converged"
    assert [(one.step, one.reason) for one in failure.attempts] == [("none", failure.reason)]
    assert failure.provenance.engine.name == "feff8l"
    assert len(failure.provenance.engine.sha256) == 64

    repeated = again(document, "one_step_feff8l:make")
    assert repeated.failure.message == failure.message
    assert repeated.failure.engine_input == failure.engine_input

    engine = Feff8lEngine(find_feff8l(load_settings()), ladder=FEFF8L_LADDER[:1])
    with pytest.raises(Exception, match="did not converge in 5 iterations") as caught:
        engine.run_site(SiteInput.from_json(failure.engine_input))
    assert caught.value.message == failure.message


@pytest.mark.engine
def test_a_site_that_needs_more_memory_than_it_may_use_fails_and_the_worker_lives_on(
    fireworks, launchpad, database, record
):
    submission, _ = prepare_submission(
        record("NiO"),
        [],
        PolarizedXesFlowMaker(site_maker=SiteXesMaker(settings=XesSettings(fms_atoms=(20,)))),
    )
    list(submit(launchpad, database, [submission], lambda *_: None))
    here = {"VTC_DATA_DIRECTORY": str(load_settings().data_directory)}
    # more than the worker itself has, less than FEFF's arrays need
    fireworks("rlaunch", "rapidfire", VTC_SITE_MEMORY_GB="0.5", **here)
    assert {each["state"] for each in launchpad.fireworks.find()} == {"COMPLETED"}
    document = database.jobs.find_one({"output.failure": {"$ne": None}})
    assert document["output"]["failure"]["reason"] == "crash"
    assert database.sams.find_one()["state"] == "incomplete"
