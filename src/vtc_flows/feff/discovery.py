"""Find FEFF 8.5L on this machine, without running or importing anything of it."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import platform
import shutil
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from vtc_flows.errors import ConfigurationError, EngineNotFoundError
from vtc_flows.feff.install import installed_directories, verify_installation
from vtc_flows.settings import VtcSettings

Origin = Literal["settings", "path", "debian", "xraylarch", "user data"]

LIBRARY_NAME = "libfeff8lpotph.so"
#: The programs that make potentials and phases, by their short names.
EXECUTABLE_NAMES = MappingProxyType(
    {"rdinp": "feff8l_rdinp", "pot": "feff8l_pot", "xsph": "feff8l_xsph"}
)

INSTALL_HINT = (
    "install it with `vtc engine install` (for this user, Linux on x86-64) or, on Debian and "
    "Ubuntu, with `sudo apt-get install feff85exafs`"
)


@dataclass(frozen=True)
class Feff8lInstallation:
    """
    The files of one FEFF 8.5L.

    Attributes
    ----------
    library : Path, optional
        ``libfeff8lpotph.so``.
    executables : mapping of str to Path
        "rdinp", "pot" and "xsph"; empty unless all three are there.
    origin : str
        Where they were found.
    version : str
        As the package states it that brought them, "unknown" where none does.
    sha256 : str
        Digest of the library, or of "pot" where there is no library.
    """

    library: Path | None
    executables: MappingProxyType[str, Path]
    origin: Origin
    version: str
    sha256: str


@dataclass(frozen=True)
class DebianPlaces:
    """
    Where Debian's package puts FEFF 8.5L.

    Attributes
    ----------
    programs : Path
        Folder of the executables.
    libraries : tuple of Path
        Folders that may hold the library.
    packages : Path
        dpkg's records.
    """

    programs: Path
    libraries: tuple[Path, ...]
    packages: Path

    @classmethod
    def of_this_machine(cls) -> DebianPlaces:
        """Return the places by Debian's name for this kind of machine."""
        multiarch = sysconfig.get_config_var("MULTIARCH")
        if not multiarch:  # an interpreter from elsewhere does not know it
            multiarch = f"{platform.machine()}-linux-gnu"
        folder = Path("/usr/lib") / multiarch
        return cls(Path("/usr/bin"), (folder / "feff85exafs", folder), Path("/var/lib/dpkg/status"))


def find_feff8l(settings: VtcSettings, *, debian: DebianPlaces | None = None) -> Feff8lInstallation:
    """
    Return the FEFF 8.5L to use.

    Parameters
    ----------
    settings : VtcSettings
        Where to look first (``feff8l_directory``), and the user's data folder.
    debian : DebianPlaces, optional
        Those of this machine if not given.

    Returns
    -------
    Feff8lInstallation
        The first of: settings, PATH, Debian's package, an installed ``xraylarch``, what
        ``vtc engine install`` installed; one with the library goes before one without.

    Raises
    ------
    EngineNotFoundError
        If there is none; says how to install it.
    ConfigurationError
        If the folder named in the settings holds none, or the installation in the user's data
        folder was altered.
    """
    without_library: Feff8lInstallation | None = None
    for found in _candidates(settings, debian or DebianPlaces.of_this_machine()):
        if found.library is not None or found.origin == "settings":
            return found
        without_library = without_library or found
    if without_library is None:
        raise EngineNotFoundError(f"FEFF 8.5L was not found on this machine: {INSTALL_HINT}")
    return without_library


def list_installations(
    settings: VtcSettings, *, debian: DebianPlaces | None = None
) -> list[Feff8lInstallation]:
    """Return every FEFF 8.5L on this machine, the preferred place first; see `find_feff8l`."""
    distinct: dict[tuple[Path | None, Path | None], Feff8lInstallation] = {}
    for found in _candidates(settings, debian or DebianPlaces.of_this_machine()):
        files = _resolved(found.library), _resolved(found.executables.get("pot"))
        distinct.setdefault(files, found)
    return list(distinct.values())


def _candidates(settings: VtcSettings, debian: DebianPlaces) -> Iterator[Feff8lInstallation]:
    """Yield what is found, looking no farther than asked."""
    yield from _from_settings(settings)
    yield from _from_path(debian)
    yield from _from_debian(debian)
    yield from _from_xraylarch()
    yield from _from_user_data(settings)


def _from_settings(settings: VtcSettings) -> Iterator[Feff8lInstallation]:
    folder = settings.feff8l_directory
    if folder is None:
        return
    found = _in_folders([folder], "settings", "unknown")
    if found is None:
        raise ConfigurationError(
            f"feff8l_directory is {folder}, which holds neither {LIBRARY_NAME} nor "
            f"{', '.join(EXECUTABLE_NAMES.values())}: correct it, or unset it and let FEFF 8.5L "
            "be found"
        )
    yield found


def _from_path(debian: DebianPlaces) -> Iterator[Feff8lInstallation]:
    program = shutil.which(EXECUTABLE_NAMES["pot"])
    if program is None or Path(program).parent.resolve() == debian.programs.resolve():
        return  # Debian's own place is known better below
    found = _in_folders([Path(program).parent], "path", "unknown")
    if found is not None:
        yield found


def _from_debian(debian: DebianPlaces) -> Iterator[Feff8lInstallation]:
    found = _in_folders(
        [*debian.libraries, debian.programs], "debian", _debian_version(debian.packages)
    )
    if found is not None:
        yield found


def _from_xraylarch() -> Iterator[Feff8lInstallation]:
    spec = importlib.util.find_spec("larch")  # finds without importing; the import takes seconds
    for place in (spec.submodule_search_locations or []) if spec is not None else []:
        found = _in_folders([Path(place) / "bin" / "linux64"], "xraylarch", _xraylarch_version())
        if found is not None:
            yield found


def _from_user_data(settings: VtcSettings) -> Iterator[Feff8lInstallation]:
    for folder, version in installed_directories(settings):
        verify_installation(folder)
        found = _in_folders([folder], "user data", version)
        if found is not None:
            yield found


def _in_folders(folders: list[Path], origin: Origin, version: str) -> Feff8lInstallation | None:
    library = _first(folders, LIBRARY_NAME, os.R_OK)
    programs = {
        short: path
        for short, name in EXECUTABLE_NAMES.items()
        if (path := _first(folders, name, os.R_OK | os.X_OK)) is not None
    }
    if len(programs) < len(EXECUTABLE_NAMES):
        programs = {}
    main = library or programs.get("pot")
    if main is None:
        return None
    return Feff8lInstallation(library, MappingProxyType(programs), origin, version, _digest(main))


def _first(folders: list[Path], name: str, access: int) -> Path | None:
    for folder in folders:
        path = folder / name
        if path.is_file() and os.access(path, access):
            return path.absolute()
    return None


def _debian_version(packages: Path) -> str:
    """Return the version of the package ``feff85exafs`` by dpkg's records."""
    try:
        records = packages.read_text(encoding="utf-8", errors="replace").split("\n\n")
    except OSError:
        return "unknown"
    for record in records:
        if record.startswith("Package: feff85exafs\n"):
            fields = dict(line.split(": ", 1) for line in record.splitlines() if ": " in line)
            return f"feff85exafs {fields.get('Version', '')}".strip()
    return "unknown"


def _xraylarch_version() -> str:
    try:
        return f"xraylarch {metadata.version('xraylarch')}"
    except metadata.PackageNotFoundError:
        return "unknown"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _resolved(path: Path | None) -> Path | None:
    return path.resolve() if path is not None else None
