from __future__ import annotations

import analytic_engine
import pytest
from builder_drill import Case, drill
from campaign import SETTINGS, SIZES, compute, read

from vtc_flows.builders import SiteSpectraBuilder
from vtc_flows.builders.running import build
from vtc_flows.builders.spectra import spectrum_document
from vtc_flows.schemas import SpectrumDoc, SpectrumId
from vtc_flows.stores.records import ARRAYS, get_arrays, references

N_SITES = 6
_removed: list[dict] = []


def jobs_of(material_id: str) -> dict:
    return {"output.@class": "SiteXesDoc", "output.material_id": material_id}


def names_of(database, material_id: str) -> list[str]:
    """Return the names of a material's spectra, smallest size first."""
    jobs = database.jobs.find(jobs_of(material_id))
    return [each["spectrum_id"] for job in jobs for each in job["output"]["spectra"]]


def change(database) -> set[str]:
    what = {"output.spectra.0.e_fermi_ev": -7.0, "completed_at": "2099-01-01T00:00:00.000001"}
    database.jobs.update_one(jobs_of("NiO"), {"$set": what})
    return {names_of(database, "NiO")[0]}


def add(database) -> set[str]:
    compute(database, "added", read("NiO"), "Ni")
    return set(names_of(database, "added"))


def remove(database) -> set[str]:
    gone = set(names_of(database, "tenorite_CuO"))
    database.jobs.delete_many(jobs_of("tenorite_CuO"))
    return gone


def spoil(database) -> set[str]:
    job = database.jobs.find_one(jobs_of("rutile_TiO2"))
    lost = {"metadata.blob_uuid": job["output"]["spectra"][1]["tensor"]["blob_uuid"]}
    _removed[:] = [database["data.files"].find_one_and_delete(lost)]
    database.jobs.update_one({"_id": job["_id"]}, {"$set": {"completed_at": "2099"}})
    return {names_of(database, "rutile_TiO2")[1]}


def mend(database) -> set[str]:
    database["data.files"].insert_many(_removed)
    database.jobs.update_one(jobs_of("rutile_TiO2"), {"$set": {"completed_at": "2100"}})
    return {names_of(database, "rutile_TiO2")[1]}


CASE = Case(
    make=SiteSpectraBuilder,
    target="site_spectra",
    key="spectrum_id",
    change=change,
    add=add,
    remove=remove,
    spoil=spoil,
    mend=mend,
    reason="storage",
    bug=("vtc_flows.builders.spectra", "spectrum_document"),
)


def test_the_drill(campaign, monkeypatch):
    drill(CASE, campaign, monkeypatch)


def test_every_site_and_size_has_its_spectrum(campaign):
    build(SiteSpectraBuilder())
    found = list(campaign.site_spectra.find({"state": "successful"}))
    assert len(found) == N_SITES * len(SIZES)
    arrays = get_arrays(campaign, references(found))
    for each in found:
        assert all(each[key].keys() == {"blob_uuid", "store"} for key in ARRAYS)
        spectrum = spectrum_document(each, arrays)
        assert isinstance(spectrum, SpectrumDoc)
        assert len(spectrum.tensor) == 71
        parts = SpectrumId.parse(each["spectrum_id"])
        assert (parts.engine, parts.site_index) == ("analytic", each["site_index"])
        assert campaign.jobs.count_documents({"uuid": each["job_uuid"]}) == 1


def test_a_failed_site_is_a_document_for_each_size(campaign, monkeypatch):
    monkeypatch.setenv("ANALYTIC_FAIL", "1")
    compute(campaign, "hard", read("triclinic_Fe2P2O7"), "Fe")
    report = build(SiteSpectraBuilder(query={"output.material_id": "hard"}))
    assert report.failures == {"scf_not_converged": len(SIZES)}
    assert report.states == {"successful": len(SIZES), "failed": len(SIZES)}
    for document in campaign.site_spectra.find({"state": "failed"}):
        assert document["message"] == "it did not converge"
        assert document["failure"]["log_tail"] == "last line"
        assert document["site_index"] == 1
        names = {each["spectrum_id"] for each in campaign.site_spectra.find({"site_index": 1})}
        assert document["spectrum_id"] in names


@pytest.mark.parametrize("strain", [0.0, 0.02])
def test_a_failure_replaces_no_spectrum_of_the_same_crystal(campaign, monkeypatch, strain):
    monkeypatch.setenv("ANALYTIC_FAIL", "0")
    structure = read("NiO")
    structure.apply_strain(strain)
    compute(campaign, "NiO", structure, "Ni")
    build(SiteSpectraBuilder())
    states = campaign.site_spectra.distinct("state", {"material_id": "NiO"})
    assert states == (["failed"] if strain else ["successful"])


@pytest.mark.parametrize("what", ["spectra", "failures"])
def test_what_a_newer_revision_of_the_engine_gave_counts(campaign, monkeypatch, what):
    """Also where the older one came later, and where the newer one failed."""
    older = list(campaign.jobs.find(jobs_of("NiO")))
    monkeypatch.setattr(analytic_engine, "REVISION", 2)
    compute(campaign, "NiO", read("NiO"), "Ni")
    newer = {"$and": [jobs_of("NiO"), {"_id": {"$nin": [job["_id"] for job in older]}}]}
    if what == "failures":
        (job,) = campaign.jobs.find(newer)
        failure = {
            "site_index": 0,
            "frac_coords": [0.0, 0.0, 0.0],
            "multiplicity": 1,
            "reason": "crash",
            "message": "it crashed",
            "log_tail": "",
            "settings": SETTINGS.model_dump(mode="json"),
            "provenance": job["output"]["spectra"][0]["provenance"],
        }
        changes = {"output.state": "failed", "output.spectra": [], "output.failure": failure}
        campaign.jobs.update_one(newer, {"$set": changes})
    campaign.jobs.update_many(
        {"_id": {"$in": [job["_id"] for job in older]}}, {"$set": {"completed_at": "2099"}}
    )
    build(SiteSpectraBuilder())
    for document in campaign.site_spectra.find({"material_id": "NiO"}):
        place = document if what == "spectra" else document["failure"]
        assert place["provenance"]["engine"]["revision"] == 2


def test_of_two_spectra_the_newer_one_counts(campaign):
    build(SiteSpectraBuilder())
    before = CASE.documents(campaign)
    compute(campaign, "NiO", read("NiO"), "Ni")
    report = build(SiteSpectraBuilder())
    assert report.n_derived == len(SIZES)
    for name, document in CASE.documents(campaign).items():
        newer = document["job_uuid"] != before[name]["job_uuid"]
        assert newer == (document["material_id"] == "NiO")
        assert document["build"]["n_members"] == 1 + newer


def test_a_failure_of_an_old_version_keeps_its_place(campaign, monkeypatch):
    monkeypatch.setenv("ANALYTIC_FAIL", "0")
    compute(campaign, "old", read("NiO"), "Ni")
    campaign.jobs.update_one(
        {"output.failure": {"$ne": None}, "output.material_id": "old"},
        {"$unset": {"output.failure.settings": 1, "output.failure.provenance": 1}},
    )
    build(SiteSpectraBuilder(query={"output.material_id": "old"}))
    assert CASE.failed(campaign) == {"old-Ni-0-analytic-0-00000000": "scf_not_converged"}
