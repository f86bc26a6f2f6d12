from __future__ import annotations

import hashlib
import stat
import zipfile
from pathlib import Path

import pytest

from vtc_flows.errors import EngineInstallError
from vtc_flows.feff import install
from vtc_flows.feff.discovery import DebianPlaces, find_feff8l
from vtc_flows.feff.install import install_feff8l, verify_installation
from vtc_flows.settings import load_settings

NAME = "xraylarch-2026.3.1"
WANTED = (
    *("feff8l_rdinp", "feff8l_pot", "feff8l_xsph", "libfeff8lpotph.so"),
    *("libgfortran_f8.so", "libgcc_s_f8.so", "libquadmath_f8.so"),
)


def write_wheel(folder: Path, leave_out: str = "") -> Path:
    """Write a wheel with the members of the real one, and some that must stay where they are."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{NAME}-py3-none-any.whl"
    info = f"{NAME}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        for name in (*WANTED, "feff6l", "libcldata.so"):
            if name != leave_out:
                wheel.writestr(f"larch/bin/linux64/{name}", f"content of {name}")
        wheel.writestr("larch/__init__.py", "")
        wheel.writestr("../../escaped", "outside")
        wheel.writestr(f"{info}/licenses/LICENSE", "MIT")
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: xraylarch\nVersion: 2026.3.1\n"
        )
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def settings(tmp_path):
    return load_settings(data_directory=tmp_path / "data", feff8l_directory=None)


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index that pip can reach: a folder."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return folder


@pytest.fixture
def expected_wheel(index, monkeypatch):
    """A wheel in the index whose digest is the expected one."""
    wheel = write_wheel(index)
    monkeypatch.setattr(install, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    return wheel


def leftovers(settings) -> list[str]:
    return sorted(path.name for path in (settings.data_directory / "engines").glob("*"))


def test_only_feff_and_its_licence_are_installed(expected_wheel, settings, tmp_path):
    folder = install_feff8l(settings)
    assert {path.name for path in folder.iterdir()} == {*WANTED, "LICENSE", "manifest.json"}
    assert (folder / "libfeff8lpotph.so").read_text() == "content of libfeff8lpotph.so"
    assert (folder / "feff8l_pot").stat().st_mode & stat.S_IXUSR
    assert leftovers(settings) == ["feff8l-2026.3.1"]
    assert not list(tmp_path.rglob("escaped"))
    nowhere = DebianPlaces(tmp_path, (), tmp_path / "none")
    found = find_feff8l(settings, debian=nowhere)
    assert found.origin in ("user data", "path", "xraylarch")  # the machine's own goes before
    verify_installation(folder)


def test_installing_again_downloads_nothing(expected_wheel, settings):
    folder = install_feff8l(settings)
    expected_wheel.unlink()
    steps: list[str] = []
    assert install_feff8l(settings, progress=steps.append) == folder
    assert "already" in steps[0]


def test_altered_installation_is_replaced(expected_wheel, settings):
    folder = install_feff8l(settings)
    (folder / "libfeff8lpotph.so").write_text("something else")
    with pytest.raises(EngineInstallError, match=r"libfeff8lpotph\.so"):
        verify_installation(folder)
    install_feff8l(settings)
    verify_installation(folder)
    assert leftovers(settings) == ["feff8l-2026.3.1"]


def test_another_wheel_is_refused_and_leaves_nothing(index, settings):
    write_wheel(index)
    with pytest.raises(EngineInstallError, match=r"10f272bc57fe831b.*nothing was installed"):
        install_feff8l(settings)
    assert leftovers(settings) == []


def test_wheel_without_feff_is_refused(index, settings, monkeypatch):
    wheel = write_wheel(index, leave_out="feff8l_xsph")
    monkeypatch.setattr(install, "WHEEL_SHA256", hashlib.sha256(wheel.read_bytes()).hexdigest())
    with pytest.raises(EngineInstallError, match="feff8l_xsph"):
        install_feff8l(settings)
    assert leftovers(settings) == []


def test_no_network_is_one_clear_error(index, settings):
    with pytest.raises(EngineInstallError, match=r"could not download xraylarch==2026.3.1"):
        install_feff8l(settings)
    assert leftovers(settings) == []


def test_other_machines_are_told_what_to_do(settings, monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    with pytest.raises(EngineInstallError, match=r"aarch64.*feff85exafs"):
        install_feff8l(settings)


def test_a_folder_that_cannot_be_written(expected_wheel, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(EngineInstallError, match="VTC_DATA_DIRECTORY"):
        install_feff8l(load_settings(data_directory=tmp_path / "file"))
