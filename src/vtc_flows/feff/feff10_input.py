"""
Write the ``feff.inp`` of FEFF10, in the manner of pymatgen's input sets.

`Feff10InputGenerator` holds the recipe, `Feff10InputSet` what it makes of one site. The text is our
own: pymatgen's ``Tags`` writes a POLARIZATION given as a tuple with its brackets, and its ``Atoms``
and ``Potential`` start from a periodic structure, while a site's potentials, weights and shells are
decided here before. pymatgen reads what is written (the tests hold it against its parsers).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pymatgen.io.core import InputGenerator, InputSet

from vtc_flows.errors import InputError
from vtc_flows.feff.site_input import EnergyGrid, SiteInput

FEFF_INP = "feff.inp"

#: FEFF10 writes the limits of the grid with this many decimals into its own input files.
GRID_DECIMALS = 5
#: Steps in which SCFRAMP widens the cluster.
_RAMP_STEPS = 2
_DEFAULT_OVERLAP = 1.15
#: Any grid below the Fermi level: the potentials do not depend on it.
_PLACEHOLDER_GRID = EnergyGrid(-40.0, -5.0, 0.1, "absolute")

_MANUAL, _PAPER = "FEFF10's manual", "source paper"

Polarization = tuple[float, float, float]


@dataclass(frozen=True)
class Card:
    """
    One card of a ``feff.inp``.

    Attributes
    ----------
    name : str
        As FEFF10 knows it.
    values : str
        What follows it.
    why : str
        The reason for the card and its values.
    source : str
        Where that stands.
    """

    name: str
    values: str
    why: str
    source: str

    def __str__(self) -> str:
        return f"{self.name} {self.values}".rstrip()


class Feff10InputSet(InputSet):
    """
    The input of one FEFF10 run.

    Parameters
    ----------
    cards : sequence of Card
        In the order in which they are written.
    site : SiteInput
        The potentials and atoms below the cards.
    """

    def __init__(self, cards: Sequence[Card], site: SiteInput) -> None:
        self.cards = tuple(cards)
        self.site = site
        super().__init__(inputs={FEFF_INP: self._text()})

    @property
    def text(self) -> str:
        """The text of the ``feff.inp``."""
        return str(self.inputs[FEFF_INP])

    def _text(self) -> str:
        lines = [str(card) for card in self.cards]
        lines.append("POTENTIALS")
        lines += [
            f" {number} {kind.atomic_number} {kind.label} {kind.lmax_scf} {kind.lmax_fms} "
            f"{kind.stoichiometry:.6g}"
            for number, kind in enumerate(self.site.potentials)
        ]
        lines.append("ATOMS")
        lines += [
            f" {x:.8f} {y:.8f} {z:.8f} {index}"
            for (x, y, z), index in zip(
                self.site.positions_angstrom, self.site.potential_index, strict=True
            )
        ]
        return "\n".join([*lines, "END", ""])


@dataclass
class Feff10InputGenerator(InputGenerator):
    """
    The recipe by which sites become FEFF10 inputs.

    Parameters
    ----------
    title : str
        First line of the input and of FEFF's outputs.

    Examples
    --------
    >>> from vtc_flows.feff.feffinp import parse_feff_input
    >>> site = parse_feff_input('''
    ... XES -20 -5 0.1
    ... FMS 2.5
    ... POTENTIALS
    ...  0 28 Ni
    ...  1 8 O
    ... ATOMS
    ...  0 0 0 0
    ...  0 0 2.1 1
    ... ''').site
    >>> inputs = Feff10InputGenerator().get_input_set(site, 2.5, polarization=(0.0, 0.0, 1.0))
    >>> print(inputs.text.splitlines()[-8])
    POLARIZATION 0.0000000000 0.0000000000 1.0000000000
    """

    title: str = "vtc-flows"

    def get_input_set(
        self,
        site: SiteInput,
        fms_radius_angstrom: float | None = None,
        *,
        polarization: Polarization | None = None,
        fermi_ev: float | None = None,
    ) -> Feff10InputSet:
        """
        Return the input for one site.

        Parameters
        ----------
        site : SiteInput
            Atoms, potentials and settings.
        fms_radius_angstrom : float, optional
            Radius of the multiple scattering; without it the input serves the potentials only.
        polarization : tuple of float, optional
            Direction in the frame of the atoms; the average over directions if not given.
        fermi_ev : float, optional
            Fermi level found by the self-consistency, from which a grid may count.

        Raises
        ------
        InputError
            If the grid counts from the Fermi level and that is not given.
        """
        own = [card.split()[0].upper()[:4] for card in site.extra_cards]
        cards = [
            card
            for card in self._cards(site, fms_radius_angstrom, polarization, fermi_ev)
            if card.name[:4] not in own
        ]
        extra = [
            Card(*_split(line), why="As the user has it.", source="feff.inp")
            for line in site.extra_cards
        ]
        return Feff10InputSet([*cards, *extra], site)

    def _cards(
        self,
        site: SiteInput,
        radius: float | None,
        polarization: Polarization | None,
        fermi_ev: float | None,
    ) -> Iterator[Card]:
        yield Card("TITLE", self.title, "Names the run in FEFF's outputs.", _MANUAL)
        yield Card("EDGE", "K", "Valence-to-core emission fills the 1s hole.", _PAPER)
        yield Card(
            "S02",
            f"{site.amplitude_reduction:.6g}",
            "No reduction unless asked for; below 0.1 FEFF10 would estimate one.",
            _MANUAL,
        )
        yield Card(
            "COREHOLE",
            "FSR" if site.core_hole else "NONE",
            "Final-state rule: the hole stays; said aloud, because a default may change.",
            _PAPER,
        )
        yield Card(
            "EXCHANGE",
            "0 0.0 0.0 0",
            "Hedin-Lundqvist self energy without shift or broadening.",
            _MANUAL,
        )
        yield _xes_card(site.grid, radius, fermi_ev)
        yield from _potential_cards(site)
        # the potentials' own input has a radius too, so that FEFF10 plans no path expansion
        reach = radius if radius is not None else site.scf.radius_angstrom
        yield Card("FMS", f"{reach:.6f} 0", "Full multiple scattering about the absorber.", _PAPER)
        yield Card("RPATH", "0.1", "No path is so short: the path expansion is off.", _MANUAL)
        yield Card(
            "ABSOLUTE",
            "",
            "Without it each spectrum is divided by its own background at the Fermi level.",
            "FEFF10's ff2xmu",
        )
        yield Card("PRINT", "0 0 0 0 0 0", "The files that later steps need, and no more.", _MANUAL)
        yield Card(
            "CONTROL", "1 1 1 1 1 1", "All steps; which programs run is decided outside.", _MANUAL
        )
        if polarization is not None:
            direction = " ".join(f"{value:.10f}" for value in polarization)
            yield Card(
                "POLARIZATION",
                direction,
                "Cartesian, in the frame of ATOMS; no ELLIPTICITY, which would turn the atoms.",
                "FEFF10's mkptz",
            )


def absolute_grid(grid: EnergyGrid, fermi_ev: float | None) -> EnergyGrid:
    """
    Return a grid as FEFF10's XES card has it: absolute energies, rounded as FEFF10 rounds them.

    Raises
    ------
    InputError
        If the grid counts from a Fermi level that is not known, or reaches to energies of zero
        and more, where FEFF10 silently puts in others.
    """
    if grid.origin == "fermi":
        if fermi_ev is None:
            raise InputError(
                "a grid that counts from the Fermi level needs self-consistent potentials: give "
                "SCF iterations, or absolute energies"
            )
        start, stop = fermi_ev + grid.start_ev, fermi_ev + grid.stop_ev
    else:
        start, stop = grid.start_ev, grid.stop_ev
    start, stop = round(start, GRID_DECIMALS), round(stop, GRID_DECIMALS)
    if start >= 0:
        raise InputError(
            f"the grid begins at {start:.3f} eV on FEFF's scale, but FEFF10 takes energies below "
            "zero only: begin further below the Fermi level"
        )
    return EnergyGrid(start, stop, grid.step_ev, "absolute")


def _xes_card(grid: EnergyGrid, radius: float | None, fermi_ev: float | None) -> Card:
    shown = _PLACEHOLDER_GRID if radius is None else absolute_grid(grid, fermi_ev)
    return Card(
        "XES",
        f"{shown.start_ev:.{GRID_DECIMALS}f} {shown.stop_ev:.{GRID_DECIMALS}f} {shown.step_ev:.6g}",
        "First and last energy and step, absolute on FEFF's scale: known once the potentials are.",
        "FEFF10's phmesh",
    )


def _potential_cards(site: SiteInput) -> Iterator[Card]:
    scf = site.scf
    if scf.max_iterations and scf.radius_angstrom:
        yield Card(
            "SCF",
            f"{scf.radius_angstrom:.6f} 0 {scf.max_iterations} {scf.mixing:.6g} "
            f"{scf.n_plain_mixing}",
            "Self-consistent potentials: radius, crystal, most iterations, mixing, plain "
            "iterations before Broyden's method.",
            _MANUAL,
        )
    if scf.ramp_from_angstrom is not None:
        yield Card(
            "SCFRAMP",
            f"{scf.ramp_from_angstrom:.6f} {_RAMP_STEPS}",
            "A small cluster first, then wider ones: a step of the recovery.",
            "FEFF10's potsub",
        )
    if scf.core_valence_floor_ev is not None:
        yield Card(
            "CORVAL",
            f"{scf.core_valence_floor_ev:.6g}",
            "Where the search for the core-valence separation begins: a step of the recovery.",
            "FEFF10's corval",
        )
    if site.overlap != _DEFAULT_OVERLAP:
        yield Card("AFOLP", f"{site.overlap:.6g}", "Overlap of the muffin-tin spheres.", _MANUAL)


def _split(line: str) -> tuple[str, str]:
    name, _, values = line.strip().partition(" ")
    return name.upper(), values.strip()
