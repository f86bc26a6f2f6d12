"""
Which electrons count as valence, and whether a self-consistent solution has all of them.

FEFF integrates the density of states from a separation energy E_cv below the valence band up to the
Fermi level, and puts the Fermi level where the integral gives the free atoms' valence electrons. A
core level that slips above E_cv is integrated without being counted, and the Fermi level ends two
electrons an atom too low, inside the band; a valence level that slips below is counted without
being integrated. Either way the iterations can converge, and nothing in FEFF's output says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vtc_flows.errors import ScfNotConvergedError
from vtc_flows.feff.site_input import PotentialSpec
from vtc_flows.feff.units import HARTREE_EV

#: A full shell below this energy in the free atom (eV) stays full in a crystal: semicore p and d,
#: and the s shells of oxygen and fluorine.
DEEP_EV = -30.0
#: How many electrons a full deep shell may seem to lack inside its atom's sphere (O 2s: 0.2).
_LACKING_E = 0.6
#: By how much the occupation of an angular momentum may pass what its shells hold (s, p, d, f, g):
#: tails of the neighbors' states inside the sphere.
_BEYOND_E = (0.25, 0.4, 0.6, 0.6, 0.6)
#: How far s and p occupations of two potentials of one element may differ; a core hole changes d.
_SAME_ELEMENT_E = (1.0, 2.0)
_OCCUPIED_E = 0.1
#: Quantum numbers n and l of the orbitals in FEFF10's table of the free atoms, in its order: 1s,
#: 2s, 2p1/2, 2p3/2, 3s ...
ORBITALS = tuple(
    (n, momentum)
    for n, momentum, count in (
        *((1, 0, 1), (2, 0, 1), (2, 1, 2)),
        *((3, 0, 1), (3, 1, 2), (3, 2, 2)),
        *((4, 0, 1), (4, 1, 2), (4, 2, 2), (4, 3, 2)),
        *((5, 0, 1), (5, 1, 2), (5, 2, 2), (5, 3, 2)),
        *((6, 0, 1), (6, 1, 2), (6, 2, 2), (7, 0, 1), (7, 1, 2), (8, 0, 1), (8, 1, 2)),
        *((7, 2, 2), (6, 3, 2), (5, 4, 2)),
    )
    for _ in range(count)
)
_LETTERS = "spdfg"


@dataclass(frozen=True)
class Shell:
    """
    A valence shell of the free atom.

    Attributes
    ----------
    n, l : int
        Quantum numbers.
    electrons : float
        In the free atom.
    deep : bool
        Whether it lies so deep that it stays full in a crystal.
    """

    n: int
    l: int  # noqa: E741 - the quantum number
    electrons: float
    deep: bool

    @property
    def name(self) -> str:
        """As 3p."""
        return f"{self.n}{_LETTERS[self.l]}"

    @property
    def capacity(self) -> int:
        """Electrons it can hold."""
        return 2 * (2 * self.l + 1)

    @property
    def full(self) -> bool:
        """Whether it is closed in the free atom."""
        return self.electrons > self.capacity - _OCCUPIED_E


@dataclass(frozen=True)
class CoreValence:
    """
    The separation of core and valence in one self-consistency.

    Attributes
    ----------
    energy_ev : float
        E_cv at the end.
    moves_ev : tuple of float
        What it was before each move that followed impossible occupations.
    shells : tuple of tuple of Shell
        Valence shells of each potential, the absorber first.
    occupations_e : tuple of tuple of float
        Electrons of each potential by angular momentum, in the last iteration.
    """

    energy_ev: float
    moves_ev: tuple[float, ...]
    shells: tuple[tuple[Shell, ...], ...]
    occupations_e: tuple[tuple[float, ...], ...]

    def shell_names(self) -> tuple[tuple[str, ...], ...]:
        """Return the names of the valence shells of each potential."""
        return tuple(tuple(shell.name for shell in shells) for shells in self.shells)


def separation_of(fields: Mapping[str, Any] | None) -> CoreValence | None:
    """Return the separation from the fields that `dataclasses.asdict` and JSON made of it."""
    if fields is None:
        return None
    return CoreValence(
        fields["energy_ev"],
        tuple(fields["moves_ev"]),
        tuple(tuple(Shell(**shell) for shell in shells) for shells in fields["shells"]),
        tuple(tuple(row) for row in fields["occupations_e"]),
    )


def valence_shells(
    kappa: NDArray[np.int32],
    energies_ha: NDArray[np.float64],
    valence: NDArray[np.float64],
    by_angular_momentum: NDArray[np.float64],
) -> tuple[Shell, ...]:
    """
    Return the valence shells of one potential from FEFF's tables of its orbitals.

    Parameters
    ----------
    kappa : ndarray of int, shape (n_orbitals,)
        Relativistic quantum number of each orbital, in the order of the free atom: n rises.
    energies_ha : ndarray, shape (n_orbitals,)
        Levels of the free atom.
    valence : ndarray, shape (n_orbitals,)
        Valence electrons of each orbital, FEFF's ``xnval``.
    by_angular_momentum : ndarray, shape (n_l,)
        Valence electrons that FEFF counts, its ``xnvmu``. FEFF may have taken shells from the core
        that are not in `valence`: the deepest core shells with the electrons that are missing.

    Returns
    -------
    tuple of Shell
        Lowest n first for each l.

    Examples
    --------
    Calcium, with 3p as valence:

    >>> shells = valence_shells(
    ...     np.array([-1, -1, 1, -2, -1, 1, -2, -1]),
    ...     np.array([-149, -17, -13.9, -13.8, -2.3, -1.4, -1.4, -0.2]),
    ...     np.array([0, 0, 0, 0, 0, 2, 4, 2.0]),
    ...     np.array([2.0, 6.0, 0.0, 0.0]),
    ... )
    >>> [shell.name for shell in shells]
    ['4s', '3p']
    """
    found = []
    for momentum, counted in enumerate(by_angular_momentum):
        # kappa = l (j = l - 1/2) is filled first and so is there for every shell but an s shell
        first = np.flatnonzero(kappa == (momentum or -1))
        second = np.flatnonzero(kappa == -momentum - 1)[: len(first) if momentum else 0]
        electrons = valence[first].copy()
        electrons[: len(second)] += valence[second]
        energies = energies_ha[first] * HARTREE_EV
        shells = [
            Shell(momentum + 1 + number, momentum, float(held), bool(energies[number] < DEEP_EV))
            for number, held in enumerate(electrons)
        ]
        found += _with_core(shells, float(counted))
    return tuple(found)


def shells_of_table(valence: Sequence[float]) -> tuple[Shell, ...]:
    """
    Return the valence shells of a free atom from its row in FEFF10's table.

    Parameters
    ----------
    valence : sequence of float
        Valence electrons of each of `ORBITALS`.

    Returns
    -------
    tuple of Shell
        An s or p shell counts as deep if another one of the atom has a larger n.

    Examples
    --------
    >>> row = [0.0] * 5 + [2, 4, 2, 0, 1, 1] + [0.0] * 29
    >>> [(shell.name, shell.deep) for shell in shells_of_table(row)]
    [('3p', True), ('3d', False), ('4s', False), ('4p', False)]
    """
    electrons: dict[tuple[int, int], float] = {}
    for orbital, held in zip(ORBITALS, valence, strict=True):
        if held > 0:
            electrons[orbital] = electrons.get(orbital, 0.0) + float(held)
    largest = max((n for n, _ in electrons), default=0)
    return tuple(
        Shell(n, momentum, held, deep=n < largest and momentum < 2)
        for (n, momentum), held in electrons.items()
    )


def _with_core(shells: Sequence[Shell], counted: float) -> list[Shell]:
    """Return the shells with valence electrons, the highest of the core for what is missing."""
    missing = counted - sum(shell.electrons for shell in shells)
    kept = []
    for shell in reversed(shells):
        if shell.electrons > _OCCUPIED_E:
            kept.append(shell)
        elif missing > shell.capacity - _OCCUPIED_E:
            kept.append(replace(shell, electrons=float(shell.capacity)))
            missing -= shell.capacity
    return kept[::-1]


def require_one_solution(potentials: Sequence[PotentialSpec], separation: CoreValence) -> None:
    """
    Refuse a solution whose electrons are not those that were counted.

    Parameters
    ----------
    potentials : sequence of PotentialSpec
        The absorber first.
    separation : CoreValence
        Shells and occupations.

    Raises
    ------
    ScfNotConvergedError
        With the reason ``valence_assignment``: a shell is valence in one potential and core in
        another one of the same element; an angular momentum holds more electrons than its shells
        (a core level above E_cv) or fewer than its full deep ones (a valence level below E_cv); or
        potentials of one element are filled differently.
    """
    for number, potential in enumerate(potentials):
        _require_fit(potential.label, separation, number)
        for other in range(number):
            if potentials[other].atomic_number == potential.atomic_number:
                _require_equal(potentials[other].label, potential.label, separation, other, number)


def counted_core_shells(separation: CoreValence) -> list[tuple[int, int]]:
    """Return potential and l where more electrons were counted than the valence shells hold."""
    return [
        (number, momentum)
        for number, occupations in enumerate(separation.occupations_e)
        for momentum, occupation in enumerate(occupations)
        if occupation > _room(separation.shells[number], momentum) + _BEYOND_E[momentum]
    ]


def _room(shells: Sequence[Shell], momentum: int) -> float:
    """Return how many electrons of one l the valence of an atom can hold."""
    own = [shell for shell in shells if shell.l == momentum]
    room = float(sum(shell.capacity for shell in own))
    if all(shell.full and shell.deep for shell in own):
        room += 2 * momentum + 1  # an empty shell above, half filled by what neighbors share
    return room


def _require_fit(label: str, separation: CoreValence, number: int) -> None:
    for momentum, occupation in enumerate(separation.occupations_e[number]):
        shells = [shell for shell in separation.shells[number] if shell.l == momentum]
        room = _room(separation.shells[number], momentum)
        if occupation > room + _BEYOND_E[momentum]:
            raise _refusal(
                f"{label} holds {occupation:.2f} {_LETTERS[momentum]} electrons where its valence "
                f"shells ({_listed(shells)}) have room for {room:g}: a core level lies "
                f"above the core-valence separation at {separation.energy_ev:.1f} eV"
            )
        deep = sum(shell.electrons for shell in shells if shell.deep and shell.full)
        if deep and occupation < deep - _LACKING_E:
            raise _refusal(
                f"{label} holds {occupation:.2f} {_LETTERS[momentum]} electrons and should hold at "
                f"least {deep:g} in its deep valence shells ({_listed(shells)}): one lies below "
                f"the core-valence separation at {separation.energy_ev:.1f} eV"
            )


def _require_equal(first: str, second: str, separation: CoreValence, one: int, other: int) -> None:
    # the electron that screens the core hole may open a shell, but it closes none
    a_shells, b_shells = (separation.shells[number] for number in (one, other))
    differ = _deep_shells(a_shells) - {shell.name for shell in b_shells}
    differ |= _deep_shells(b_shells) - {shell.name for shell in a_shells}
    if differ:
        raise _refusal(
            f"{' '.join(sorted(differ))} counts as valence in only one of two potentials of one "
            f"element ({first}: {_listed(a_shells)}; {second}: {_listed(b_shells)})"
        )
    pairs = zip(separation.occupations_e[one], separation.occupations_e[other], strict=True)
    for letter, most, (a, b) in zip(_LETTERS, _SAME_ELEMENT_E, pairs, strict=False):
        if abs(a - b) > most:
            raise _refusal(
                f"two potentials of one element hold {a:.2f} ({first}) and {b:.2f} ({second}) "
                f"{letter} electrons: the core-valence separation at "
                f"{separation.energy_ev:.1f} eV parts them"
            )


def _deep_shells(shells: Sequence[Shell]) -> set[str]:
    return {shell.name for shell in shells if shell.full and shell.deep}


def _refusal(message: str) -> ScfNotConvergedError:
    return ScfNotConvergedError(
        f"the potentials converged to a false solution: {message}", reason="valence_assignment"
    )


def _listed(shells: Sequence[Shell]) -> str:
    return " ".join(shell.name for shell in shells) or "none"
