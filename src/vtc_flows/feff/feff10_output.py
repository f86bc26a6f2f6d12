"""
Read what FEFF10 leaves behind, and believe none of it unseen.

FEFF10 ends with exit code 0 whatever happens, appends to some files and overwrites others. So every
reader here says what is missing or cut off, by an `EngineOutputError` with a reason code.
"""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from vtc_flows.errors import EngineCrashError, EngineOutputError, ScfNotConvergedError
from vtc_flows.feff.core_valence import ORBITALS, CoreValence, Shell, shells_of_table
from vtc_flows.feff.pad import PadReader
from vtc_flows.feff.site_input import SiteInput

FloatArray = NDArray[np.float64]

#: FEFF10's own Hartree in eV (its ``m_constants.f90``), a little off today's value.
FEFF10_HARTREE_EV = 2.0 * 13.605698

ERROR_FILE = ".feff.error"
POT_LOG = "log1.dat"
SCF_FILE = "convergence.scf"
CHARGE_FILE = "convergence.scf.fine"
POT_FILE = "pot.bin"
PHASE_FILE = "phase.bin"
SECTION_FILE = "xsect.dat"
FINE_STRUCTURE_FILE = "fms.bin"
GEOMETRY_FILE = "geom.dat"
XMU_FILE = "xmu.dat"
GLOBAL_FILE = "global.inp"
CONFIGURATION_FILE = "config.dat"

_CONVERGED = re.compile(r"^\s*Convergence reached in\s+\d+ iterations", re.MULTILINE)
_NOT_CONVERGED = "Convergence not reached"
BAD_COUNTS = "Found bad counts"
_BAD_COUNTS_EXIT = "Bad counts found repeatedly"
#: Where Fortran leaves the letter out: an exponent of three digits.
_BARE_EXPONENT = re.compile(r"(?<=\d)(?=[+-]\d{3}\b)")
_FMS_RADIUS = re.compile(r"^#? *FMS rfms= *(\d+\.\d+)", re.MULTILINE)
_SEPARATION = re.compile(r"^Core-valence separation energy: +ecv= *(\S+) eV", re.MULTILINE)
_OCCUPATION = re.compile(r"^\s*(\d+)\s+(\d+)\s+(-?\d+\.\d+)\s*$")
_CHARGE = re.compile(r"^\s*(\d+)\s+(-?\d+\.\d+)\s*$")
#: What gfortran's programs print at their end; how many of the lines before it tell the cause.
_NO_WORDS = ("STOP", "Note: The following floating-point exceptions")
_LAST_WORDS = 3
#: Width of the core level, points on the real axis, index of the Fermi level.
_SECTION_COUNT = re.compile(r"^#\s+\d\.\d+E[+-]\d+\s+(\d+)\s+(\d+)\s*$", re.MULTILINE)
_XMU_COLUMNS = 6
_SECTION_COLUMNS = 5
_SAME_LEVEL_EV = 2e-3  # the text files have three decimals
_SAME_PLACE_ANGSTROM = 1e-4  # five decimals


@dataclass(frozen=True)
class Feff10Scf:
    """
    What the self-consistency of FEFF10 did.

    Attributes
    ----------
    fermi_history_ev : tuple of float
        Fermi level after each iteration, restarts and stages included.
    e_fermi_ev : float
        Fermi level of the potentials, to full precision.
    charges_e : tuple of float
        Electrons that each kind of atom lost.
    bad_counts : int
        How often impossible occupations were met.
    separation : CoreValence, optional
        Core-valence separation and occupations; None without a self-consistency.
    """

    fermi_history_ev: tuple[float, ...]
    e_fermi_ev: float
    charges_e: tuple[float, ...]
    bad_counts: int
    separation: CoreValence | None = None


@dataclass(frozen=True)
class Xmu:
    """
    An ``xmu.dat``.

    Attributes
    ----------
    photon_energy_ev, energy_ev : ndarray of shape (n,)
        Columns omega and e.
    wave_number : ndarray of shape (n,)
        Column k, zero at the Fermi level (1/Angstrom).
    mu, mu0 : ndarray of shape (n,)
        Spectrum and atomic background.
    """

    photon_energy_ev: FloatArray
    energy_ev: FloatArray
    wave_number: FloatArray
    mu: FloatArray
    mu0: FloatArray


def require_no_error_file(folder: Path, program: str, log: str = "") -> None:
    """
    Refuse to go on where a program left its error file.

    Raises
    ------
    EngineCrashError
        With the last words of its log and the reason ``error_file``, or ``bad_input`` where the
        input was refused.
    """
    if not (folder / ERROR_FILE).exists():
        return
    said = [
        " ".join(line.split())
        for line in log.splitlines()
        if line.strip() and not line.startswith(_NO_WORDS)
    ]
    words = " / ".join(said[-_LAST_WORDS:]) or "it says nothing"
    if program == "rdinp":
        raise EngineCrashError(f"FEFF10 refuses its input: {words}", reason="bad_input")
    raise EngineCrashError(
        f"FEFF10's {program} did not finish and left {ERROR_FILE}: {words}", reason="error_file"
    )


def read_scf(folder: Path) -> Feff10Scf:
    """
    Read how the self-consistency ended.

    Parameters
    ----------
    folder : Path
        Where ``pot`` ran, once.

    Raises
    ------
    ScfNotConvergedError
        If it did not converge, by its log or by its table; with the reason ``bad_counts`` if
        impossible occupations ended it.
    EngineOutputError
        If its files are missing, cut off, or contradict one another.
    """
    log = _text(folder / POT_LOG)
    rows = _scf_table(folder / SCF_FILE)
    bad_counts = log.count(BAD_COUNTS)
    if _BAD_COUNTS_EXIT in log:
        raise ScfNotConvergedError(
            f"FEFF10 found impossible occupations {bad_counts} times and gave up",
            reason="bad_counts",
        )
    if not rows:
        raise EngineOutputError(
            f"{SCF_FILE} holds no iteration: the self-consistency did not run to an end",
            reason="output_truncated",
        )
    converged = rows[-1][-1] == 1.0
    last_word = log.rpartition("SCF ITERATION NUMBER")[2]
    if _NOT_CONVERGED in last_word or not converged:
        raise ScfNotConvergedError(
            f"the potentials did not converge in {len(rows)} iterations; the last one changed a "
            f"charge by {rows[-1][2]:.4f} and an occupation by {rows[-1][3]:.4f} electrons"
        )
    if BAD_COUNTS in last_word:
        raise ScfNotConvergedError(
            "the last iteration of the self-consistency has impossible occupations",
            reason="bad_counts",
        )
    if not _CONVERGED.search(last_word):
        raise EngineOutputError(
            f"{POT_LOG} does not say that the potentials converged: it is cut off",
            reason="output_truncated",
        )
    e_fermi_ev = read_fermi_level(folder / POT_FILE)
    if abs(e_fermi_ev - rows[-1][1]) > _SAME_LEVEL_EV:
        raise EngineOutputError(
            f"{POT_FILE} has the Fermi level {e_fermi_ev:.3f} eV, {SCF_FILE} {rows[-1][1]:.3f} eV: "
            "they are of different runs",
            reason="output_stale",
        )
    history = tuple(row[1] for row in rows)
    separation = CoreValence(
        *_separations(log),
        _valence_shells(folder / CONFIGURATION_FILE),
        _occupations(last_word),
    )
    _require_same_kinds(separation)
    charges = _charges(folder / CHARGE_FILE)
    return Feff10Scf(history, e_fermi_ev, charges, bad_counts, separation)


def read_fermi_level(path: Path) -> float:
    """
    Return the Fermi level in a ``pot.bin``, in eV.

    Raises
    ------
    EngineOutputError
        If the file is missing or cut off.
    """
    reader = PadReader(_text(path).encode("latin-1"), path.name)
    try:
        n_titles = int(reader.text()[0])
        for _ in range(n_titles):
            reader.text()
        return float(reader.reals(13)[1]) * FEFF10_HARTREE_EV
    except (EngineOutputError, ValueError) as error:
        raise EngineOutputError(
            f"{path.name} cannot be read ({error}): FEFF10's pot did not finish it",
            reason="output_truncated",
        ) from error


@dataclass(frozen=True)
class Section:
    """
    An ``xsect.dat``: the embedded atom on FEFF10's mesh.

    Attributes
    ----------
    energy_ev : ndarray of shape (n,), complex
        Horizontal points, ascending, then the vertical ones.
    normalization, cross_section : ndarray of shape (n,)
        Factor of the fine structure and complex cross section, Angstrom^2.
    n_horizontal, fermi_index : int
        Points on the horizontal line, and the one at the Fermi level.
    """

    energy_ev: NDArray[np.complex128]
    normalization: FloatArray
    cross_section: NDArray[np.complex128]
    n_horizontal: int
    fermi_index: int


def read_section(path: Path) -> Section:
    """
    Read an ``xsect.dat``.

    Raises
    ------
    EngineOutputError
        If the file is missing or cut off.
    """
    header = _SECTION_COUNT.search(_text(path))
    if header is None:
        raise EngineOutputError(
            f"{path.name} does not say how many points it holds", reason="output_truncated"
        )
    n_horizontal, fermi = int(header[1]), int(header[2])
    table = _table(path, _SECTION_COLUMNS)
    if len(table) < n_horizontal:
        raise EngineOutputError(
            f"{path.name} holds {len(table)} of {n_horizontal} points", reason="output_truncated"
        )
    return Section(
        table[:, 0] + 1j * table[:, 1],
        table[:, 2],
        table[:, 3] + 1j * table[:, 4],
        n_horizontal,
        fermi - 1,
    )


def read_fine_structure(path: Path) -> NDArray[np.complex128]:
    """
    Read the fine structure of one polarization, a ``fms.bin``, on FEFF10's mesh.

    ``ff2x`` takes what is missing in it for zero and says nothing.

    Raises
    ------
    EngineOutputError
        If the file is missing, cut off, or holds numbers that are not finite.
    """
    reader = PadReader(_text(path).encode("latin-1"), path.name)
    try:
        reader.text()
        words = reader.text()
        n_energies, reader.width = int(words[0]), int(words[4])
        numbers = reader.complexes(n_energies)
    except (EngineOutputError, ValueError, IndexError) as error:
        raise EngineOutputError(
            f"{path.name} cannot be read ({error}): FEFF10's mkgtr did not finish it",
            reason="output_truncated",
        ) from error
    if not np.isfinite(numbers).all():
        raise EngineOutputError(
            f"{path.name} holds numbers that are not finite", reason="output_not_finite"
        )
    return numbers


def require_atoms(path: Path, site: SiteInput) -> None:
    """
    Refuse a ``geom.dat`` with other atoms than those that FEFF10 was told of.

    Raises
    ------
    EngineOutputError
        If the file is missing, cut off, or of another site.
    """
    rows = []
    for line in _text(path).splitlines():
        words = line.split()
        with suppress(ValueError):
            if len(words) == 6:
                rows.append([float(word) for word in words])
    read = np.array(rows).reshape(-1, 6)
    if len(read) != len(site.positions):
        raise EngineOutputError(
            f"{path.name} has {len(read)} of the {len(site.positions)} atoms that FEFF10 was told "
            "of",
            reason="output_truncated",
        )
    distances, nearest = cKDTree(site.positions).query(read[:, 1:4])
    each_once = len(np.unique(nearest)) == len(read)
    same_kinds = np.asarray(site.potential_index)[nearest] == read[:, 4]
    if distances.max() > _SAME_PLACE_ANGSTROM or not (each_once and same_kinds.all()):
        raise EngineOutputError(
            f"{path.name} has other atoms than FEFF10 was told of: it is of another run",
            reason="output_stale",
        )


def read_xmu(path: Path, fms_radius_angstrom: float | None = None) -> Xmu:
    """
    Read a spectrum.

    Parameters
    ----------
    path : Path
        An ``xmu.dat``.
    fms_radius_angstrom : float, optional
        The radius that its head must state.

    Raises
    ------
    EngineOutputError
        If the file is missing, holds no spectrum, a broken line, numbers that are not finite, or
        is of another radius.
    """
    table = _table(path, _XMU_COLUMNS)
    stated = _FMS_RADIUS.search(_text(path))
    wanted = fms_radius_angstrom
    if stated and wanted is not None and abs(float(stated[1]) - wanted) > _SAME_PLACE_ANGSTROM:
        raise EngineOutputError(
            f"{path.name} is of a scattering radius of {stated[1]} Angstrom, not of "
            f"{wanted:.4f}: it is of another run",
            reason="output_stale",
        )
    omega, energy, wave_number, mu, mu0, _ = table.T
    return Xmu(omega, energy, wave_number, mu, mu0)


def read_edge_cross_section(path: Path, e_fermi_ev: float) -> float:
    """
    Return the absorber's cross section at the Fermi level, in Angstrom^2.

    FEFF10 divides by it where the card ABSOLUTE is not given. It is interpolated linearly between
    the points of ``xsect.dat`` on the real axis, as FEFF10 does.

    Raises
    ------
    EngineOutputError
        If the file is missing or cut off, or does not reach to the Fermi level.
    """
    section = read_section(path)
    energies = section.energy_ev[: section.n_horizontal].real
    if not energies[0] <= e_fermi_ev <= energies[-1]:
        raise EngineOutputError(
            f"the Fermi level {e_fermi_ev:.3f} eV lies outside the spectrum "
            f"({energies[0]:.3f} ... {energies[-1]:.3f} eV), so that it has no scale",
            reason="wrong_grid",
        )
    return float(np.interp(e_fermi_ev, energies, section.normalization[: section.n_horizontal]))


def read_polarization(folder: Path) -> tuple[float, float, float]:
    """
    Return the direction that ``rdinp`` handed on to the other programs.

    Raises
    ------
    EngineOutputError
        If ``global.inp`` is missing or cut off.
    """
    text = _text(folder / GLOBAL_FILE)
    lines = text.partition("evec")[2].splitlines()[1:4]
    try:
        x, y, z = (float(line.split()[0]) for line in lines)
    except (IndexError, ValueError):
        raise EngineOutputError(
            f"{GLOBAL_FILE} names no polarization: rdinp did not finish it",
            reason="output_truncated",
        ) from None
    return x, y, z


def _scf_table(path: Path) -> list[list[float]]:
    """Return the rows of iterations: number, Fermi level, two changes, converged or not."""
    rows: list[list[float]] = []
    for line in _text(path).splitlines():
        if line.lstrip().startswith("#") or not line.strip():
            continue
        words = line.split()
        try:
            row = [float(word.replace("*", "inf", 1).rstrip("*")) for word in words]
        except ValueError:
            row = []
        if len(row) != 5:
            raise EngineOutputError(
                f"{path.name} holds a broken line: {line.strip()[:60]!r}",
                reason="output_truncated",
            )
        if not np.isfinite(row).all():
            raise ScfNotConvergedError(
                f"the potentials diverged: after {len(rows)} iterations {path.name} has no numbers "
                f"any more ({' '.join(words)[:60]})"
            )
        if row[0] > 0:
            rows.append(row)
    return rows


def _charges(path: Path) -> tuple[float, ...]:
    """Return the last charge transfers; nothing where the file does not tell."""
    try:
        last = _text(path).rpartition("Charge transfer")[2]
    except EngineOutputError:
        return ()
    found = [match for line in last.splitlines() if (match := _CHARGE.match(line))]
    return tuple(float(match[2]) for match in found)


def _separations(log: str) -> tuple[float, tuple[float, ...]]:
    """Return the last core-valence separation, and those before it that were given up."""
    found = [float(value) for value in _SEPARATION.findall(log)]
    if not found:
        raise EngineOutputError(
            f"{POT_LOG} names no core-valence separation", reason="output_truncated"
        )
    moves = [one for one, after in pairwise(found) if one != after]
    return found[-1], tuple(moves)


def _occupations(last_word: str) -> tuple[tuple[float, ...], ...]:
    """Return the electrons of each kind of atom by angular momentum, from the end of the log."""
    by_kind: dict[int, list[float]] = {}
    for line in last_word.rpartition("Electronic configuration")[2].splitlines():
        match = _OCCUPATION.match(line)
        if match:
            by_kind.setdefault(int(match[1]), []).append(float(match[3]))
    return tuple(tuple(by_kind[kind]) for kind in sorted(by_kind))


def _valence_shells(path: Path) -> tuple[tuple[Shell, ...], ...]:
    """Return the valence shells of the free atoms, from ``config.dat``: two lines for each."""
    rows = []
    for line in _text(path).splitlines():
        words = line.split()
        with suppress(ValueError):
            rows.append([float(word) for word in words[-len(ORBITALS) :]])
    complete = [row for row in rows if len(row) == len(ORBITALS)]
    if not complete or len(complete) % 2:
        raise EngineOutputError(f"{path.name} is cut off", reason="output_truncated")
    return tuple(shells_of_table(row) for row in complete[1::2])


def _require_same_kinds(separation: CoreValence) -> None:
    """Refuse shells and occupations of different numbers of kinds of atoms: lines are lost."""
    shells, occupations = len(separation.shells), len(separation.occupations_e)
    if shells != occupations:
        raise EngineOutputError(
            f"{CONFIGURATION_FILE} has {shells} kinds of atoms and {POT_LOG} {occupations}: one of "
            "them is cut off",
            reason="output_truncated",
        )


def _table(path: Path, n_columns: int) -> FloatArray:
    rows = []
    for line in _text(path).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        try:
            row = [float(word) for word in _BARE_EXPONENT.sub("E", line).split()]
        except ValueError:  # Fortran fills a field with stars where a number is too large
            row = []
        if len(row) != n_columns:
            raise EngineOutputError(
                f"{path.name} holds a broken line: {line.strip()[:60]!r}",
                reason="output_truncated",
            )
        rows.append(row)
    if not rows:
        raise EngineOutputError(f"{path.name} holds no numbers", reason="output_truncated")
    table = np.array(rows)
    if not np.isfinite(table).all():
        raise EngineOutputError(
            f"{path.name} holds numbers that are not finite", reason="output_not_finite"
        )
    return table


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="latin-1")
    except FileNotFoundError:
        raise EngineOutputError(f"FEFF10 left no {path.name}", reason="output_missing") from None
    except OSError as error:
        raise EngineOutputError(
            f"{path.name} cannot be read: {error.strerror}", reason="output_missing"
        ) from error
