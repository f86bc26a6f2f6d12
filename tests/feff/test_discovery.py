from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from vtc_flows.errors import ConfigurationError, EngineInstallError, EngineNotFoundError
from vtc_flows.feff.discovery import (
    EXECUTABLE_NAMES,
    LIBRARY_NAME,
    DebianPlaces,
    find_feff8l,
    list_installations,
)
from vtc_flows.settings import load_settings

PROGRAMS = tuple(EXECUTABLE_NAMES.values())


def put_library(folder: Path, content: bytes = b"library") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / LIBRARY_NAME
    path.write_bytes(content)
    return path


def put_programs(folder: Path, names=PROGRAMS) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)


@pytest.fixture
def bare(monkeypatch, tmp_path):
    """A machine without FEFF: empty PATH, no Debian package, no xraylarch, empty data folder."""
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path / "data"))
    monkeypatch.delenv("VTC_FEFF8L_DIRECTORY", raising=False)
    return DebianPlaces(
        tmp_path / "debian/bin", (tmp_path / "debian/lib",), tmp_path / "debian/status"
    )


def test_nothing_found_says_both_install_commands(bare):
    with pytest.raises(EngineNotFoundError) as error:
        find_feff8l(load_settings(), debian=bare)
    assert "vtc engine install" in str(error.value)
    assert "apt-get install feff85exafs" in str(error.value)


def test_places_are_searched_in_order(bare, tmp_path, monkeypatch):
    put_library(tmp_path / "larch/bin/linux64", b"larch")
    (tmp_path / "larch/__init__.py").write_text("raise ImportError('must not be imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_feff8l(load_settings(), debian=bare).origin == "xraylarch"
    assert "larch" not in sys.modules

    put_library(bare.libraries[0], b"debian")
    put_programs(bare.programs)
    bare.packages.write_text(
        "Package: other\nVersion: 9\n\nPackage: feff85exafs\nVersion: 0.2-1\n\n"
    )
    found = find_feff8l(load_settings(), debian=bare)
    assert (found.origin, found.version) == ("debian", "feff85exafs 0.2-1")
    assert found.executables["pot"] == bare.programs / "feff8l_pot"

    put_programs(tmp_path / "bin")
    put_library(tmp_path / "bin", b"path")
    assert find_feff8l(load_settings(), debian=bare).origin == "path"

    put_library(tmp_path / "own", b"own")
    settings = load_settings(feff8l_directory=tmp_path / "own")
    assert find_feff8l(settings, debian=bare).origin == "settings"
    origins = [each.origin for each in list_installations(settings, debian=bare)]
    assert origins == ["settings", "path", "debian", "xraylarch"]


def test_one_with_the_library_goes_before_one_without(bare, tmp_path):
    put_programs(tmp_path / "bin")
    found = find_feff8l(load_settings(), debian=bare)
    assert (found.origin, found.library) == ("path", None)
    put_library(bare.libraries[0])
    assert find_feff8l(load_settings(), debian=bare).origin == "debian"


def test_programs_count_only_together(bare, tmp_path):
    put_programs(tmp_path / "bin", names=("feff8l_pot",))
    with pytest.raises(EngineNotFoundError):
        find_feff8l(load_settings(), debian=bare)


def test_what_cannot_be_run_is_no_program(bare, tmp_path):
    put_programs(tmp_path / "own")
    (tmp_path / "own/feff8l_xsph").chmod(0o644)
    if os.access(tmp_path / "own/feff8l_xsph", os.X_OK):
        pytest.skip("this file system makes every file executable")
    with pytest.raises(ConfigurationError, match="holds neither"):
        find_feff8l(load_settings(feff8l_directory=tmp_path / "own"), debian=bare)


def test_empty_folder_in_settings_is_an_error_and_not_passed_over(bare, tmp_path):
    put_library(bare.libraries[0])
    with pytest.raises(ConfigurationError, match="feff8l_directory"):
        find_feff8l(load_settings(feff8l_directory=tmp_path / "nowhere"), debian=bare)


def test_digest_tells_libraries_apart(bare, tmp_path):
    first = find_feff8l(
        load_settings(feff8l_directory=put_library(tmp_path / "a", b"a").parent), debian=bare
    )
    second = find_feff8l(
        load_settings(feff8l_directory=put_library(tmp_path / "b", b"b").parent), debian=bare
    )
    assert first.sha256 != second.sha256
    assert len(first.sha256) == 64


def test_altered_installation_is_refused(bare, tmp_path):
    folder = tmp_path / "data/engines/feff8l-2026.3.1"
    library = put_library(folder)
    (folder / "manifest.json").write_text(json.dumps({"sha256": {library.name: "0" * 64}}))
    with pytest.raises(EngineInstallError, match=r"altered.*vtc engine install"):
        find_feff8l(load_settings(), debian=bare)
