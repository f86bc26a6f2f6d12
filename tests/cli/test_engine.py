"""`vtc engine` and `vtc doctor` with FEFF10; the programs need not run for that."""

from __future__ import annotations

import pytest

from vtc_flows.feff.feff10_programs import PROGRAMS


@pytest.fixture
def feff10_folder(tmp_path, monkeypatch):
    folder = tmp_path / "feff10"
    folder.mkdir()
    for name in PROGRAMS:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("VTC_FEFF10_DIRECTORY", str(folder))
    return folder


def test_list_shows_feff10(vtc, feff10_folder):
    result = vtc("engine", "list")
    assert result.exit_code == 0
    assert "* feff10  settings, FEFF 10.0.0, sha256" in result.stdout
    assert str(feff10_folder) in result.stdout


def test_doctor_is_content_with_feff10_alone(vtc, feff10_folder, monkeypatch, tmp_path):
    monkeypatch.setenv("VTC_FEFF8L_DIRECTORY", str(tmp_path / "none"))
    result = vtc("doctor")
    assert result.exit_code == 0
    assert "engine feff8l:     problem" in result.stdout
    assert "engine feff10:     settings" in result.stdout


def test_doctor_says_how_to_get_feff10(vtc):
    assert "VTC_FEFF10_DIRECTORY" in vtc("doctor").stdout


def test_folder_without_all_programs_is_refused(vtc, feff10_folder, structure_file):
    (feff10_folder / "mkgtr").unlink()
    (feff10_folder / "fms").chmod(0o644)
    for arguments in (("engine", "list"), ("run", structure_file("NiO"), "--engine", "feff10")):
        result = vtc(*arguments)
        assert result.exit_code == 2
        assert "which has no program fms, mkgtr that can be executed" in result.output


def test_missing_feff10_is_not_installed(vtc, structure_file, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    result = vtc("run", structure_file("NiO"), "--engine", "feff10", "--install-engine")
    assert result.exit_code == 2
    assert "build FEFF10" in result.output
