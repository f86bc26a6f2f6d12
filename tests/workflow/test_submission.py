from __future__ import annotations

import json
import threading

import analytic_engine
import pytest
from fireworks import Workflow

from vtc_flows.schemas import settings_hash
from vtc_flows.settings import load_settings
from vtc_flows.stores.materials import save_materials
from vtc_flows.stores.records import load_records
from vtc_flows.workflow.launchpad import open_launchpad
from vtc_flows.workflow.materials import material_document
from vtc_flows.workflow.submission import (
    LONG,
    RECORDS,
    SHORT,
    Submitted,
    prepare_submission,
    submit,
    to_workflow,
)


def submission(record, maker, *elements):
    made, problems = prepare_submission(record, elements, maker)
    assert not problems
    return made


def never(source, error):
    raise AssertionError(f"{source}: {error}")


def states(database) -> dict[str, int]:
    counted = database.fireworks.aggregate([{"$group": {"_id": "$state", "n": {"$sum": 1}}}])
    return {each["_id"]: each["n"] for each in counted}


class TestWorkflow:
    def test_sites_are_independent_and_records_come_last(self, record, maker):
        workflow = to_workflow(submission(record("triclinic_Fe2P2O7"), maker()))
        by_name = {firework.name: firework for firework in workflow.fws}
        assert list(by_name) == ["site XES Fe 0", "site XES Fe 1", "records Fe"]
        assert sorted(map(len, workflow.links.values())) == [0, 1, 1]
        last = by_name["records Fe"]
        assert last.spec["_allow_fizzled_parents"]
        assert (last.spec["_category"], last.spec["_priority"]) == (RECORDS, 10)
        assert by_name["site XES Fe 0"].spec["material_id"] == "triclinic_Fe2P2O7"

    def test_settings_survive_the_file(self, record, maker, tmp_path):
        made = maker(20, 30, window_ev=(-20.0, 1.0))
        workflow = to_workflow(submission(record("NiO"), made))
        path = tmp_path / "x.json"
        path.write_text(workflow.to_format(f_format="json"))
        again = Workflow.from_file(str(path))
        site, last = (firework.tasks[0]["job"] for firework in again.fws)
        bound = site.function.__self__
        assert settings_hash(bound.settings) == settings_hash(made.site_maker.settings)
        assert last.function_args[5] == made.sams_settings
        assert again.metadata["claims"] == workflow.metadata["claims"]

    def test_no_address_stands_in_it(self, record, maker, monkeypatch):
        monkeypatch.setenv("VTC_DATABASE_URI", "mongodb://me:secret@db.lab/")
        text = json.dumps(to_workflow(submission(record("NiO"), maker())).to_dict(), default=str)
        assert "mongodb" not in text
        assert "secret" not in text
        assert len(text) < 10_000

    def test_cost_decides_category_and_time(self, record, maker):
        nio = record("NiO")
        small = to_workflow(submission(nio, maker(30))).fws[0].spec
        large = to_workflow(submission(nio, maker(80, engine="feff10"))).fws[0].spec
        assert (small["_category"], large["_category"]) == (SHORT, LONG)
        assert small["_queueadapter"] == {"walltime": "01:00:00"}
        assert large["_queueadapter"] == {"walltime": "02:00:00"}

    def test_chosen_absorbers(self, record, maker):
        made, problems = prepare_submission(record("LiCoO2"), ["Fe"], maker())
        assert (made.flows, problems) == ({}, [])

    @pytest.mark.parametrize("name", ["rocksalt_NaCl", "disordered_CoNiO2", "isolated_Fe"])
    def test_what_cannot_be_done_is_told(self, record, maker, name):
        made, (problem,) = prepare_submission(record(name), [], maker())
        assert made.flows == {}
        assert str(problem)


class TestSubmit:
    def test_nothing_is_there_twice(self, launchpad, database, record, maker):
        names = ("NiO", "triclinic_Fe2P2O7")

        def call(made, **options):
            jobs = [submission(record(name), made) for name in names]
            (*_, total) = submit(launchpad, database, jobs, never, **options)
            return total

        assert call(maker(20, 30)) == Submitted(2, 3, 4, 0)
        assert call(maker(20, 30)) == Submitted(0, 0, 0, 4)
        assert database.workflows.count_documents({}) == 2
        assert states(database) == {"READY": 3, "WAITING": 2}
        assert call(maker(30, 80)) == Submitted(2, 3, 2, 0)  # 80 is new; both share one SCF
        assert call(maker(20, window_ev=(-20.0, 1.0))) == Submitted(2, 3, 2, 0)
        assert call(maker(20), again=True) == Submitted(2, 3, 2, 0)
        assert {each["state"] for each in database.submissions.find()} == {"submitted"}

    def test_submitters_at_the_same_time(self, launchpad, database, record, maker):
        totals = []

        def one() -> None:
            mine = open_launchpad(load_settings())
            jobs = [submission(record(name), maker()) for name in ("NiO", "rutile_TiO2")]
            totals.extend(list(submit(mine, database, jobs, never))[-1:])
            mine.connection.close()

        threads = [threading.Thread(target=one) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(total.crystals for total in totals) == 2
        assert database.workflows.count_documents({}) == 2

    def test_the_same_name_for_another_crystal(self, launchpad, database, record, maker):
        nio = record("NiO")
        list(submit(launchpad, database, [submission(nio, maker())], never))
        nio.structure.scale_lattice(nio.structure.volume * 1.1)
        problems = []
        (total,) = submit(
            launchpad,
            database,
            [submission(nio, maker(20, 30))],
            lambda source, error: problems.append(str(error)),
        )
        assert total == Submitted()
        assert "another structure than the one that was submitted as NiO" in problems[0]
        assert "NiO.cif" in problems[0]
        assert "rename the file" in problems[0]
        assert database.submissions.count_documents({}) == 1

    def test_a_crystal_that_was_replaced_is_submitted_when_told_to(
        self, launchpad, database, record, maker
    ):
        nio = record("NiO")
        list(submit(launchpad, database, [submission(nio, maker())], never))
        nio.structure.scale_lattice(nio.structure.volume * 1.1)
        save_materials(database, [material_document(nio)], replace=True)
        problems = []
        jobs = [submission(nio, maker())]
        list(submit(launchpad, database, jobs, lambda *told: problems.append(str(told[1]))))
        assert "submit it with --again" in problems[0]
        (*_, total) = submit(launchpad, database, [submission(nio, maker())], never, again=True)
        assert total == Submitted(1, 1, 1, 0)

    def test_more_than_a_batch(self, launchpad, database, record, maker):
        nio = record("NiO")
        names = (f"m-{number}" for number in range(210))
        many = [submission(type(nio)(n, nio.structure, "x", "NiO"), maker()) for n in names]
        sums = [total.crystals for total in submit(launchpad, database, many, never)]
        assert sums[-1] == 210
        assert database.workflows.count_documents({}) == 210
        assert database.fireworks.count_documents({}) == 420


class TestRun:
    """FireWorks' own commands run what is written and what is submitted."""

    def test_lpad_add_and_rlaunch(self, fireworks, database, record, maker, tmp_path):
        paths = []
        for name in ("NiO", "triclinic_Fe2P2O7"):
            workflow = to_workflow(submission(record(name), maker(20, 30)))
            paths.append(tmp_path / f"{name}.json")
            paths[-1].write_text(workflow.to_format(f_format="json"))
        fireworks("lpad", "add", *map(str, paths))
        fireworks("rlaunch", "rapidfire")
        assert states(database) == {"COMPLETED": 5}
        records = list(load_records(database))
        assert [(r.material_id, r.fms_atoms, r.state) for r in records] == [
            ("NiO", 20, "complete"),
            ("NiO", 30, "complete"),
            ("triclinic_Fe2P2O7", 20, "complete"),
            ("triclinic_Fe2P2O7", 30, "complete"),
        ]
        job = database.jobs.find_one({"name": "site XES Fe 1"})
        assert job["output"]["spectra"][0]["tensor"].keys() >= {"blob_uuid"}
        assert job["last_updated"].microsecond % 1000 == 0

    def test_several_workers(self, fireworks, launchpad, database, record, maker, analytic):
        nio = record("NiO").structure
        kinds = type(record("NiO"))
        jobs = [submission(kinds(f"m-{n}", nio, "x", "NiO"), maker()) for n in range(12)]
        list(submit(launchpad, database, jobs, never))
        fireworks("rlaunch", "multi", "3")
        assert states(database) == {"COMPLETED": 24}
        assert len(list(load_records(database))) == 12
        assert len(analytic.read_text().splitlines()) == 12
        assert database.launches.count_documents({}) == 24

    def test_what_an_older_revision_of_the_engine_made_is_not_done(
        self, fireworks, launchpad, database, record, maker, analytic, monkeypatch
    ):
        def call() -> Submitted:
            jobs = [submission(record("NiO"), maker())]
            (*_, total) = submit(launchpad, database, jobs, never)
            return total

        call()
        fireworks("rlaunch", "rapidfire")
        (old,) = load_records(database)
        monkeypatch.setattr(analytic_engine, "REVISION", 2)
        assert call() == Submitted(1, 1, 1, 0)
        assert call() == Submitted(0, 0, 0, 1)
        fireworks("rlaunch", "rapidfire", ANALYTIC_REVISION="2")
        (new,) = load_records(database)
        assert new.record_id == old.record_id
        assert [each.provenance.engine.revision for each in (old, new)] == [1, 2]
        # jobs that are run again because somebody says so know it as well
        for each in database.fireworks.find({"spec._category": {"$ne": RECORDS}}):
            launchpad.rerun_fw(each["fw_id"])
        fireworks("rlaunch", "rapidfire", ANALYTIC_REVISION="2")
        assert len(analytic.read_text().splitlines()) == 3  # the first of them, and no other
        (again,) = load_records(database)
        assert again.provenance.engine.revision == 2

    def test_a_failed_site_makes_an_incomplete_record(
        self, fireworks, launchpad, database, record, maker
    ):
        jobs = [submission(record("triclinic_Fe2P2O7"), maker())]
        list(submit(launchpad, database, jobs, never))
        fireworks("rlaunch", "rapidfire", ANALYTIC_FAIL="1")
        assert states(database) == {"COMPLETED": 3}
        (incomplete,) = load_records(database)
        assert (incomplete.state, incomplete.failures[0].reason) == (
            "incomplete",
            "scf_not_converged",
        )

    def test_a_bug_fizzles_one_site_and_the_record_says_so(
        self, fireworks, launchpad, database, record, maker
    ):
        jobs = [submission(record("triclinic_Fe2P2O7"), maker())]
        list(submit(launchpad, database, jobs, never))
        fireworks("rlaunch", "rapidfire", ANALYTIC_BUG="1")
        assert states(database) == {"COMPLETED": 2, "FIZZLED": 1}
        (incomplete,) = load_records(database)
        assert [failure.reason for failure in incomplete.failures] == ["job_failed"]
        launch = database.launches.find_one({"state": "FIZZLED"})
        assert "ZeroDivisionError" in launch["action"]["stored_data"]["_exception"]["_stacktrace"]

    def test_a_record_without_any_site_is_replaced_when_there_is_one(
        self, fireworks, launchpad, database, record, maker
    ):
        list(submit(launchpad, database, [submission(record("NiO"), maker())], never))
        fireworks("rlaunch", "rapidfire", ANALYTIC_BUG="0")
        (incomplete,) = load_records(database)
        (site,) = database.fireworks.find({"state": "FIZZLED"})
        launchpad.rerun_fw(site["fw_id"])
        fireworks("rlaunch", "rapidfire")
        (complete,) = load_records(database)
        assert (incomplete.state, complete.state) == ("incomplete", "complete")
        assert incomplete.record_id == complete.record_id
