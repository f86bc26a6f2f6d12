from __future__ import annotations

import json

import pytest

from vtc_flows.feff.registry import current_revision

ENGINE = ("--engine", "analytic_engine:make")


@pytest.fixture(autouse=True)
def engine(analytic):
    return analytic


class TestWorkflow:
    def test_a_file_for_each_crystal(self, vtc, structure_file, tmp_path):
        files = [structure_file(name) for name in ("NiO", "rutile_TiO2")]
        result = vtc("workflow", *files, *ENGINE, "-o", tmp_path / "out")
        assert result.exit_code == 0, result.stderr
        written = [tmp_path / "out/NiO.json", tmp_path / "out/rutile_TiO2.json"]
        assert result.stdout.splitlines() == [str(path) for path in written]
        assert json.loads(written[0].read_text())["metadata"]["material_id"] == "NiO"

    @pytest.mark.parametrize("name", ["x.json", "x.yaml"])
    def test_one_file_holds_one_crystal(self, vtc, structure_file, tmp_path, name):
        one = vtc("workflow", structure_file("NiO"), *ENGINE, "-o", tmp_path / name)
        assert (one.exit_code, one.stdout.strip()) == (0, str(tmp_path / name))
        files = [structure_file(name) for name in ("NiO", "rutile_TiO2")]
        two = vtc("workflow", *files, *ENGINE, "-o", tmp_path / name)
        assert two.exit_code == 2
        assert "name a folder for several" in two.stderr

    def test_what_cannot_be_done_does_not_stop_the_rest(self, vtc, structure_file, tmp_path):
        files = [structure_file(name) for name in ("rocksalt_NaCl", "two_structures", "NiO")]
        result = vtc("workflow", *files, *ENGINE, "-o", tmp_path)
        assert result.exit_code == 2
        assert [path.name for path in tmp_path.glob("*.json")] == ["NiO.json"]
        assert len(result.stderr.strip().splitlines()) == 2

    def test_a_wrong_engine_is_refused_and_a_missing_one_noted(
        self, vtc, structure_file, tmp_path, monkeypatch
    ):
        nio = structure_file("NiO")
        wrong = vtc("workflow", nio, "--engine", "feff9", "-o", tmp_path)
        assert wrong.exit_code == 2
        assert "no engine is called 'feff9'" in wrong.stderr
        monkeypatch.setenv("PATH", str(tmp_path))
        missing = vtc("workflow", nio, "--engine", "feff10", "-o", tmp_path)
        assert missing.exit_code == 0
        assert "note: workers will need what is not here" in missing.stderr


class TestSubmit:
    def test_from_files_and_from_materials_but_nothing_twice(self, vtc, structure_file, database):
        files = [structure_file(name) for name in ("NiO", "triclinic_Fe2P2O7")]
        first = vtc("submit", *files, *ENGINE)
        assert first.exit_code == 0, first.stderr
        assert first.stdout.startswith("2 crystals with 3 sites for 2 records")
        vtc("import", *files, structure_file("rutile_TiO2"))
        again = vtc("submit", "--materials", *ENGINE)
        assert again.stdout.startswith("1 crystals with 1 sites for 1 records")
        assert "2 records were submitted before" in again.stdout
        assert database.workflows.count_documents({}) == 3

    def test_a_choice_among_materials(self, vtc, structure_file, database):
        names = ("NiO", "triclinic_Fe2P2O7", "rutile_TiO2", "LiCoO2")
        vtc("import", *(structure_file(name) for name in names))
        query = json.dumps({"n_sites": {"$lte": 6}})
        result = vtc("submit", "--query", query, "--element", "Ni", "--element", "Ti", *ENGINE)
        assert result.stdout.startswith("2 crystals")
        assert vtc("submit", "--materials", "--limit", 1, *ENGINE).stdout.startswith("1 crystals")
        for wrong in ("{", "[]"):
            assert vtc("submit", "--query", wrong, *ENGINE).exit_code == 2

    def test_without_a_database(self, vtc, structure_file, monkeypatch, tmp_path):
        monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path))
        result = vtc("submit", structure_file("NiO"), *ENGINE)
        assert result.exit_code == 2
        assert "vtc db start" in result.stderr


def test_status_counts_records_of_an_older_revision(vtc, database, structure_file):
    assert vtc("submit", structure_file("NiO"), *ENGINE).exit_code == 0
    revision = current_revision("feff8l")
    engines = [
        {"name": "feff8l"},  # of version 0.1.0
        {"name": "feff8l", "revision": revision - 1},
        {"name": "feff8l", "revision": revision},
        {"name": "analytic", "revision": 1},
        None,
    ]
    database.sams.insert_many(
        {"record_id": f"r{n}", "state": "complete", "provenance": {"engine": engine}}
        for n, engine in enumerate(engines)
    )
    result = vtc("status")
    assert "5 complete" in result.stdout
    assert "2 of them are of an older revision of their engine: vtc submit" in result.stdout
    assert json.loads(vtc("status", "--json").stdout)["outdated"] == 2
