"""A record says what its sites were computed with, or is refused: never anything else."""

from __future__ import annotations

import pytest
from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from vtc_flows.crystal.sites import site_orbits
from vtc_flows.errors import InputError, WindowError
from vtc_flows.schemas import SamsSettings, SiteXesDoc, XesSettings, settings_hash
from vtc_flows.workflow.analysis import sams_records
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker

TWO_KINDS = "triclinic_Fe2P2O7"  # two orbits of one Fe each
SHORT = XesSettings(energy_step_ev=0.5)


@pytest.fixture
def store():
    return JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})


@pytest.fixture
def flow(crystal, analytic):
    def make(name: str = TWO_KINDS, element: str = "Fe", **sams):
        maker = PolarizedXesFlowMaker(
            site_maker=SiteXesMaker(engine="analytic_engine:make", settings=SHORT),
            sams_settings=SamsSettings(**sams),
        )
        return maker.make(crystal(name), element, "x", source="here")

    return make


def run(flow, store):
    answers = run_locally(flow, store=store, log=False)
    sites = [answers[job.uuid][1].output for job in flow.jobs[:-1] if job.uuid in answers]
    last = answers.get(flow.jobs[-1].uuid)
    return sites, None if last is None else last[1].output.records


@pytest.mark.parametrize(
    "changed",
    [
        XesSettings(core_hole="none"),
        XesSettings(energy_below_ev=40, energy_step_ev=0.5),
        XesSettings(fms_atoms=(20, 40)),
        XesSettings(n_scf_atoms=20, scf_mixing=0.1, scf_max_iterations=90),
        {"core_hole": "none", "listed_radius_angstrom": 10.0},
    ],
    ids=["hole", "grid", "sizes", "potentials", "dictionary"],
)
def test_settings_changed_after_the_flow_was_made_stand_in_the_record(flow, store, changed):
    made = flow()
    made.update_maker_kwargs({"settings": changed}, class_filter=SiteXesMaker)
    sites, records = run(made, store)
    wanted = changed if isinstance(changed, XesSettings) else XesSettings(**changed)
    assert [record.fms_atoms for record in records] == list(wanted.fms_atoms)
    for record in records:
        assert record.state == "complete"
        assert record.settings == wanted.for_size(record.fms_atoms)
        assert record.record_id.endswith(settings_hash(record.settings, record.sams_settings)[:8])
        for site in sites:
            assert record.settings in [spectrum.settings for spectrum in site.spectra]


def test_another_engine_chosen_after_the_flow_was_made_stands_in_the_record(flow, store):
    made = flow()
    made.update_maker_kwargs({"engine": "analytic_engine:make_shifted"}, class_filter=SiteXesMaker)
    _, (record,) = run(made, store)
    assert (record.engine, record.provenance.engine.name) == ("analytic_shifted",) * 2
    assert "-analytic_shifted-" in record.record_id


def test_a_grid_that_no_longer_holds_the_window_fails_before_the_engine_runs(flow, store, analytic):
    made = flow()
    made.update_maker_kwargs({"settings": XesSettings(energy_below_ev=20)})
    sites, (record,) = run(made, store)
    assert not analytic.exists()
    assert [site.failure.reason for site in sites] == ["window", "window"]
    assert record.state == "incomplete"
    assert record.settings.energy_below_ev == 20
    assert "beyond the spectrum's grid -20 ... 5 eV" in record.failures[0].message


def test_a_failed_site_tells_its_settings_too(flow, store, monkeypatch):
    monkeypatch.setenv("ANALYTIC_FAIL", "0,1")
    made = flow()
    made.update_maker_kwargs({"settings": XesSettings(core_hole="none", fms_atoms=(20, 30))})
    _, records = run(made, store)
    assert [(r.settings.core_hole, r.settings.fms_atoms) for r in records] == [
        ("none", (20,)),
        ("none", (30,)),
    ]


def test_where_all_sites_are_lost_what_was_asked_for_counts(flow, store, monkeypatch):
    monkeypatch.setenv("ANALYTIC_BUG", "0,1")
    _, (record,) = run(flow(), store)
    assert [failure.reason for failure in record.failures] == ["job_failed", "job_failed"]
    assert record.settings == SHORT
    assert all(failure.settings == SHORT for failure in record.failures)


@pytest.mark.parametrize("failing", ["", "1"], ids=["spectra", "a spectrum and a failure"])
def test_sites_that_differ_make_no_record(flow, store, monkeypatch, failing):
    monkeypatch.setenv("ANALYTIC_FAIL", failing)
    made = flow()
    made.update_maker_kwargs(
        {"settings": XesSettings(core_hole="none", energy_step_ev=0.5)}, name_filter="Fe 1"
    )
    made.jobs[1].update_maker_kwargs({"settings": XesSettings(core_hole="none", n_scf_atoms=20)})
    sites, records = run(made, store)
    assert len(sites) == 2  # they are not lost
    assert records is None
    with pytest.raises(InputError) as caught:
        records_of(made, sites)
    said = str(caught.value)
    assert "core_hole is fsr (site 0) and none (site 1)" in said
    assert "n_scf_atoms is 30 (site 0) and 20 (site 1)" in said
    assert "energy_step_ev is 0.5 (site 0) and 0.1 (site 1)" in said
    assert "Compute all of them with the same settings" in said


def records_of(made, sites, **changes):
    structure, element, material_id, _, settings, sams_settings, *_ = made.jobs[-1].function_args
    arguments = {
        "structure": structure,
        "element": element,
        "material_id": material_id,
        "sites": sites,
        "settings": settings,
        "sams_settings": sams_settings,
        **changes,
    }
    return sams_records(**arguments)


class TestSitesOfSomethingElse:
    @pytest.fixture
    def made(self, flow):
        return flow()

    @pytest.fixture
    def sites(self, made, store):
        return run(made, store)[0]

    @pytest.mark.parametrize(
        ("changes", "says"),
        [
            ({"material_id": "y"}, "a site of y Fe 0 was given for site 0 of x Fe"),
            ({"element": "Co"}, "a site of x Co 0 was given"),
            ({"site_index": 7}, "a site of x Fe 7 was given for site 0"),
            ({"engine": "other"}, "different engines or builds"),
        ],
    )
    def test_of_another_name(self, made, sites, changes, says):
        wrong = sites[0].model_copy(update=changes)
        with pytest.raises(InputError, match=says):
            records_of(made, [wrong, sites[1]])

    def test_a_spectrum_of_another_site_inside(self, made, sites):
        wrong = SiteXesDoc.model_validate({**sites[0].model_dump(), "spectra": sites[1].spectra})
        with pytest.raises(InputError, match="a spectrum of x Fe 1 was given for site 0"):
            records_of(made, [wrong, sites[1]])

    def test_in_the_wrong_order(self, made, sites):
        with pytest.raises(InputError, match="was given for site 0"):
            records_of(made, sites[::-1])

    def test_of_another_structure(self, made, sites, crystal):
        strained = crystal(TWO_KINDS)
        strained.apply_strain(0.01)
        assert [o.representative for o in site_orbits(strained, "Fe")] == [0, 1]
        with pytest.raises(InputError, match="was computed in another structure, from here"):
            records_of(made, sites, structure=strained)

    def test_a_failure_in_another_structure(self, made, flow, store, monkeypatch, sites):
        monkeypatch.setenv("ANALYTIC_FAIL", "0")
        failed = run(flow(), store)[0][0]
        content = failed.model_dump()
        content["failure"]["provenance"]["structure"]["lattice"]["matrix"][0][0] += 0.5
        with pytest.raises(InputError, match="another structure"):
            records_of(made, [SiteXesDoc.model_validate(content), sites[1]])

    def test_of_another_build_of_the_engine(self, made, sites):
        content = sites[0].model_dump()
        content["spectra"][0]["provenance"]["engine"]["sha256"] = "1" * 64
        with pytest.raises(InputError, match=r"SHA-256 11111111.*site 0.*SHA-256 00000000"):
            records_of(made, [SiteXesDoc.model_validate(content), sites[1]])

    def test_the_same_structure_with_rounded_numbers(self, made, sites, crystal):
        rounded = crystal(TWO_KINDS)
        rounded.translate_sites(range(len(rounded)), [4e-6, 0.0, 0.0])
        (record,) = records_of(made, sites, structure=rounded)
        assert record.state == "complete"

    def test_a_window_that_the_spectra_do_not_hold(self, made, sites):
        with pytest.raises(WindowError, match=r"beyond the spectrum's grid -30 ... 5 eV"):
            records_of(made, sites, sams_settings=SamsSettings(window_ev=(-31.0, 5.0)))

    def test_documents_of_old_versions_tell_less(self, made, flow, sites, store, monkeypatch):
        monkeypatch.setenv("ANALYTIC_FAIL", "0")
        failed = run(flow(), store)[0][0]
        content = failed.model_dump()
        content["failure"] |= {"settings": None, "provenance": None}
        (record,) = records_of(made, [SiteXesDoc.model_validate(content), sites[1]])
        assert (record.state, record.settings) == ("incomplete", SHORT)


def test_a_kept_site_of_another_cell_is_not_taken(crystal, analytic, store, tmp_path):
    """The atoms around it are the same; its place, its number and its structure are not."""
    maker = PolarizedXesFlowMaker(
        site_maker=SiteXesMaker(engine="analytic_engine:make", cache_directory=tmp_path / "kept")
    )
    run(maker.make(crystal("NiO"), "Ni", "NiO"), store)
    doubled = crystal("NiO").make_supercell([1, 1, 2])
    _, (record,) = run(maker.make(doubled, "Ni", "NiO"), store)
    assert record.state == "complete"
    assert analytic.read_text() == "0\n0\n"


def test_a_kept_site_that_is_another_one_is_computed_anew(crystal, analytic, store, tmp_path):
    kept = tmp_path / "kept"
    maker = PolarizedXesFlowMaker(
        site_maker=SiteXesMaker(engine="analytic_engine:make", cache_directory=str(kept))
    )
    run(maker.make(crystal(TWO_KINDS), "Fe", "x"), store)
    first, second = sorted(kept.iterdir())
    second.write_bytes(first.read_bytes())
    _, (record,) = run(maker.make(crystal(TWO_KINDS), "Fe", "x"), store)
    assert record.state == "complete"
    assert analytic.read_text() == "0\n1\n1\n"
