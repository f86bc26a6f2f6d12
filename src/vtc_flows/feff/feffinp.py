"""
Read an existing ``feff.inp`` of an XES calculation.

Every card is either honoured, known to leave the result alone, handed on to FEFF10 as it stands,
or refused by name: a card that is silently ignored would give another spectrum than was asked for.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from vtc_flows.errors import FeffInputError
from vtc_flows.feff.site_input import EnergyGrid, PotentialSpec, ScfControl, SiteInput

_COMMENT = "*#!%"
_KEY_LENGTH = 4  # FEFF looks at the first four letters of a card

#: Cards that steer printing, steps to run, or path expansion that multiple scattering replaces.
_WITHOUT_EFFECT = {"TITL", "PRIN", "CONT", "CFAV", "END"}

#: Cards that FEFF10 understands and that know nothing of the polarization: they are handed on.
_FEFF10_ONLY = {
    "CHBR",  # core-hole broadening at the end
    "CHWI",  # core-hole width
    "CORR",  # shift and broadening at the end
    "CORV",  # search for the core-valence separation
    "EGAP",  # gap of the self energy
    "EPS0",  # dielectric constant of the self energy
    "FOLP",  # overlap of one kind of sphere
    "INTE",  # interstitial potential
    "ION",  # ionicities
    "JUMP",  # potential jumps at the spheres
    "MPSE",  # many-pole self energy
    "OPCO",  # its loss function from atomic data
    "PLAS",  # plasmon-pole model
    "RGRI",  # radial grid
    "RSIG",  # real self energy only
    "SCFR",  # wider clusters in steps
    "SCRE",  # parameters of the screened hole
    "TEMP",  # electronic temperature
    "TOLS",  # tolerances of the self-consistency
    "UNFR",  # f electrons in the self-consistency
    "WARN",  # ionicities that are unusual
}


@dataclass(frozen=True)
class FeffInput:
    """
    What a ``feff.inp`` asks for.

    Attributes
    ----------
    site : SiteInput
        Atoms, potentials, radii and grid. The atoms keep the axes of the ATOMS list.
    polarization : tuple of float, optional
        The POLARIZATION card's direction, normalised; None for the average over directions.
    title : str
        First TITLE line.
    absolute : bool
        Whether the card ABSOLUTE wants cross sections in Angstrom^2.
    """

    site: SiteInput
    polarization: tuple[float, float, float] | None
    title: str
    absolute: bool = False


@dataclass
class _Cards:
    """The cards met so far."""

    where: str
    title: str = ""
    grid: EnergyGrid | None = None
    scf: ScfControl = field(default_factory=lambda: ScfControl(0.0, max_iterations=0))
    fms_radius: float | None = None
    path_radius: float = 0.0
    s02: float = 1.0
    core_hole: bool = True
    edge: str = "K"
    polarization: tuple[float, float, float] | None = None
    absolute: bool = False
    line: str = ""
    extra: list[str] = field(default_factory=list)
    potentials: dict[int, PotentialSpec] = field(default_factory=dict)
    atoms: list[tuple[float, float, float, int]] = field(default_factory=list)


def read_feff_input(path: Path) -> FeffInput:
    """
    Read a ``feff.inp``.

    Raises
    ------
    FeffInputError
        Names file, line and card, and what to change.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise FeffInputError(f"{path} cannot be read: {error.strerror}") from error
    return parse_feff_input(text, name=str(path))


def parse_feff_input(text: str, name: str = "feff.inp") -> FeffInput:
    """
    Read the text of a ``feff.inp``; see :func:`read_feff_input`.

    Examples
    --------
    >>> asked = parse_feff_input('''
    ... EDGE K
    ... XES -20 -5 0.1
    ... FMS 2.5
    ... POLARIZATION 0 0 2
    ... POTENTIALS
    ...  0 28 Ni
    ...  1 8 O
    ... ATOMS
    ...  0 0 0 0
    ...  0 0 2.1 1
    ... ''')
    >>> asked.polarization, len(asked.site.potential_index)
    ((0.0, 0.0, 1.0), 2)
    """
    if not text.strip() or "\0" in text or text.lstrip()[0] in "{[<":
        raise FeffInputError(f"{name} is not a feff.inp: it holds no cards")
    cards = _Cards(where=name)
    section = ""
    for number, raw in enumerate(text.splitlines(), start=1):
        cards.where = f"{name}, line {number}"
        line = _without_comment(raw)
        if not line:
            continue
        words = line.split()
        cards.line = line
        if section and not words[0][0].isalpha():
            _SECTIONS[section](cards, words)
            continue
        key = words[0].upper()[:_KEY_LENGTH]
        if key == "END":
            break
        section = key if key in _SECTIONS else ""
        if key == "TITL":
            cards.title = cards.title or line[len(words[0]) :].strip()
        elif key in _CARDS:
            _CARDS[key](cards, words[1:])
        elif key in _FEFF10_ONLY:
            cards.extra.append(line)
        elif not section and key not in _WITHOUT_EFFECT:
            raise FeffInputError(
                f"{cards.where}: the card {words[0].upper()} would change the result and is not "
                "supported by any engine here; remove it"
            )
    cards.where = name
    return _assemble(cards)


def _without_comment(line: str) -> str:
    stripped = line.strip()
    if stripped[:1] in tuple(_COMMENT):
        return ""
    return stripped.split("!")[0].split("#")[0].strip()


def _assemble(cards: _Cards) -> FeffInput:
    for missing, card in (
        (cards.grid is None, "XES emin emax estep"),
        (cards.fms_radius is None, "FMS radius"),
        (not cards.potentials, "POTENTIALS"),
        (not cards.atoms, "ATOMS"),
    ):
        if missing:
            raise FeffInputError(f"{cards.where}: the card {card} is missing")
    assert cards.grid is not None
    assert cards.fms_radius is not None
    if cards.path_radius > cards.fms_radius:
        raise FeffInputError(
            f"{cards.where}: RPATH {cards.path_radius:g} adds scattering paths beyond the FMS "
            f"radius {cards.fms_radius:g}, which is not supported; write RPATH 0.1"
        )
    absorbers = [atom for atom in cards.atoms if atom[3] == 0]
    if len(absorbers) != 1:
        raise FeffInputError(
            f"{cards.where}: {len(absorbers)} atoms have potential 0; it belongs to exactly one, "
            "the absorber"
        )
    order = sorted(cards.potentials)
    if order != list(range(len(order))):
        raise FeffInputError(f"{cards.where}: potentials {order} do not count 0, 1, 2 ...")
    positions = np.array([atom[:3] for atom in cards.atoms]) - np.array(absorbers[0][:3])
    nearest_first = np.argsort(np.linalg.norm(positions, axis=1), kind="stable")
    site = SiteInput(
        positions_angstrom=tuple(tuple(map(float, positions[i])) for i in nearest_first),  # type: ignore[misc]
        potential_index=tuple(cards.atoms[i][3] for i in nearest_first),
        potentials=tuple(_weighted(cards, i) for i in order),
        scf=cards.scf,
        fms_radii_angstrom=(cards.fms_radius,),
        grid=cards.grid,
        core_hole=cards.core_hole,
        mesh_refinement=1,  # FEFF's own integration, so that its numbers are met
        amplitude_reduction=cards.s02,
        extra_cards=tuple(cards.extra),
    )
    return FeffInput(site, cards.polarization, cards.title, cards.absolute)


def _weighted(cards: _Cards, index: int) -> PotentialSpec:
    spec = cards.potentials[index]
    if not math.isnan(spec.stoichiometry):
        return spec
    return replace(spec, stoichiometry=float(sum(atom[3] == index for atom in cards.atoms)))


def _numbers(cards: _Cards, words: list[str], least: int, card: str) -> list[float]:
    try:
        values = [float(word.lower().replace("d", "e")) for word in words]
    except ValueError:
        raise FeffInputError(
            f"{cards.where}: {card} wants numbers, not {' '.join(words)!r}"
        ) from None
    if len(values) < least:
        raise FeffInputError(f"{cards.where}: {card} wants {least} numbers, it has {len(values)}")
    return values


def _refuse(cards: _Cards, what: str) -> FeffInputError:
    return FeffInputError(f"{cards.where}: {what}")


def _xes(cards: _Cards, words: list[str]) -> None:
    low, high, step = _numbers(cards, words, 3, "XES")[:3]
    if low >= 0 or high <= low or step <= 0:
        raise _refuse(
            cards,
            f"XES {low:g} {high:g} {step:g}: absolute energies are wanted, emin < 0, emin < emax, "
            "step > 0 (FEFF would silently put in others)",
        )
    cards.grid = EnergyGrid(low, high, step, "absolute")


def _edge(cards: _Cards, words: list[str]) -> None:
    if not words or words[0].upper() not in ("K", "1"):
        raise _refuse(cards, f"EDGE {' '.join(words)}: only the K edge is supported")
    if len(words) > 1:
        cards.s02 = _numbers(cards, words[1:], 1, "EDGE")[0]


def _scf(cards: _Cards, words: list[str]) -> None:
    values = _numbers(cards, words, 1, "SCF")
    if len(values) > 1 and values[1]:
        raise _refuse(cards, "SCF with lfms1 = 1 (molecules) is not supported; write 0")
    defaults = (0.0, 0.0, 30.0, 0.2, 1.0)
    radius, _, iterations, mixing, plain = (*values, *defaults[len(values) :])[:5]
    cards.scf = ScfControl(
        radius,
        int(iterations),
        mixing,
        int(plain),
        on_bad_counts="separation",  # as FEFF10, which the file is for
        contour="feff",
        cut_clusters=True,
    )


def _fms(cards: _Cards, words: list[str]) -> None:
    values = _numbers(cards, words, 1, "FMS")
    if len(values) > 5:
        raise _refuse(cards, "FMS with a cut-off of the propagator (rdirec) is not supported")
    cards.fms_radius = values[0]


def _exchange(cards: _Cards, words: list[str]) -> None:
    if any(_numbers(cards, words, 1, "EXCHANGE")[:3]):  # not plain Hedin-Lundqvist
        cards.extra.append(cards.line)


def _corehole(cards: _Cards, words: list[str]) -> None:
    kind = words[0].upper() if words else ""
    if kind not in ("FSR", "NONE", "RPA"):
        raise _refuse(cards, f"COREHOLE {kind}: FSR, none and (FEFF10 only) RPA are supported")
    if kind == "RPA":
        cards.extra.append(cards.line)
    cards.core_hole = kind != "NONE"


def _nohole(cards: _Cards, words: list[str]) -> None:
    cards.core_hole = False


def _hole(cards: _Cards, words: list[str]) -> None:
    values = _numbers(cards, words, 1, "HOLE")
    if values[0] != 1:
        raise _refuse(cards, f"HOLE {values[0]:g}: only 1, the K edge, is supported")
    if len(values) > 1:
        cards.s02 = values[1]


def _s02(cards: _Cards, words: list[str]) -> None:
    cards.s02 = _numbers(cards, words, 1, "S02")[0]


def _rpath(cards: _Cards, words: list[str]) -> None:
    cards.path_radius = _numbers(cards, words, 1, "RPATH")[0]


def _afolp(cards: _Cards, words: list[str]) -> None:
    if words and _numbers(cards, words, 1, "AFOLP")[0] != 1.15:
        cards.extra.append(cards.line)


def _absolute(cards: _Cards, words: list[str]) -> None:
    cards.absolute = True


def _polarization(cards: _Cards, words: list[str]) -> None:
    direction = np.array(_numbers(cards, words, 3, "POLARIZATION")[:3])
    length = float(np.linalg.norm(direction))
    if length == 0:
        raise _refuse(cards, "POLARIZATION 0 0 0 has no direction")
    x, y, z = (float(value) for value in direction / length)
    cards.polarization = (x, y, z)


def _potential(cards: _Cards, words: list[str]) -> None:
    numbers = _numbers(cards, words[:2], 2, "a row of POTENTIALS")
    index, atomic_number = int(numbers[0]), int(numbers[1])
    label = words[2] if len(words) > 2 and words[2][0].isalpha() else ""
    rest = _numbers(cards, words[3 if label else 2 :], 0, "a row of POTENTIALS")
    weight = rest[2] if len(rest) > 2 else math.nan  # then the atoms listed are counted
    spec = PotentialSpec.with_default_lmax(atomic_number, label or str(atomic_number), weight)
    lmax = [int(value) for value in rest[:2]] + [-1, -1]
    cards.potentials[index] = PotentialSpec(
        atomic_number,
        spec.label,
        weight,
        lmax[0] if lmax[0] >= 0 else spec.lmax_scf,
        lmax[1] if lmax[1] >= 0 else spec.lmax_fms,
    )


def _atom(cards: _Cards, words: list[str]) -> None:
    x, y, z, index = _numbers(cards, words[:4], 4, "a row of ATOMS")
    cards.atoms.append((x, y, z, int(index)))


_CARDS: dict[str, Callable[[_Cards, list[str]], None]] = {
    "XES": _xes,
    "EDGE": _edge,
    "HOLE": _hole,
    "SCF": _scf,
    "FMS": _fms,
    "EXCH": _exchange,
    "CORE": _corehole,
    "NOHO": _nohole,
    "S02": _s02,
    "RPAT": _rpath,
    "RMAX": _rpath,
    "AFOL": _afolp,
    "ABSO": _absolute,
    "POLA": _polarization,
}
_SECTIONS: dict[str, Callable[[_Cards, list[str]], None]] = {"POTE": _potential, "ATOM": _atom}
