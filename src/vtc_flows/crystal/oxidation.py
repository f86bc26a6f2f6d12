"""Oxidation states of the sites: given, guessed from the formula, from bond valences, or zero."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from pymatgen.analysis.bond_valence import PRIOR_PROB, BVAnalyzer
from pymatgen.core.periodic_table import Element
from pymatgen.core.structure import Structure

from vtc_flows.crystal.sites import crystal_symmetry

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from vtc_flows.crystal.sites import CrystalSymmetry

    FloatArray = NDArray[np.float64]

Method = Literal["given", "formula guess", "bond valence", "zero"]

#: Most atoms in the reduced formula for which a charge balance is sought.
MAX_FORMULA_ATOMS = 250

#: Most sites in the primitive cell for which bond valences are tried.
MAX_BOND_VALENCE_SITES = 120

#: Most assignments of valences that are compared.
_MAX_BOND_VALENCE_ASSIGNMENTS = 2000


@dataclass(frozen=True, eq=False)
class OxidationStates:
    """
    Oxidation state of every site, and where it comes from.

    Attributes
    ----------
    values : ndarray of shape (n_sites,)
        In elementary charges; a fraction where an element's mean over mixed valences is meant.
    method : {"given", "formula guess", "bond valence", "zero"}
        The structure's own decoration; the likeliest charge balance of the formula; bond valence
        sums; or zeros, as for an alloy.
    """

    values: FloatArray
    method: Method


def guess_oxidation_states(
    structure: Structure, *, symmetry: CrystalSymmetry | None = None
) -> OxidationStates:
    """
    Return the oxidation states of an ordered structure, whatever it takes.

    Parameters
    ----------
    structure : Structure
        Ordered; its decoration counts if every site has one.
    symmetry : CrystalSymmetry, optional
        The structure's symmetry where it is already known; saves the search for bond valences.

    Returns
    -------
    OxidationStates

    Notes
    -----
    The guess works on the reduced formula, so that it does not depend on the cell, and in
    polynomial time (see `formula_oxidation_states`); bond valences are sought only in compounds
    with a nonmetal (a silicide or germanide without charge balance is an alloy) and in primitive
    cells of at most 120 sites. So every
    call is bounded by its size alone, and gives the same answer on every machine.

    Examples
    --------
    >>> from pymatgen.core import Lattice
    >>> nio = Structure(Lattice.cubic(2.5), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    >>> guess_oxidation_states(nio).values.tolist()
    [2.0, -2.0]
    """
    species = [next(iter(site.species)) for site in structure]
    given = [getattr(kind, "oxi_state", None) for kind in species]
    if all(state is not None for state in given):
        return OxidationStates(np.array(given, dtype=float), "given")
    symbols = [kind.symbol for kind in species]
    counts = {symbol: symbols.count(symbol) for symbol in sorted(set(symbols))}
    divisor = math.gcd(*counts.values())
    guess = formula_oxidation_states(tuple((el, n // divisor) for el, n in counts.items()))
    if guess is not None:
        return OxidationStates(np.array([guess[symbol] for symbol in symbols]), "formula guess")
    valences = _bond_valences(structure, symmetry)
    if valences is not None:
        return OxidationStates(valences, "bond valence")
    return OxidationStates(np.zeros(len(structure)), "zero")


@lru_cache(maxsize=20_000)
def formula_oxidation_states(formula: tuple[tuple[str, int], ...]) -> dict[str, float] | None:
    """
    Return the likeliest charge-balanced oxidation states of a formula, averaged per element.

    Parameters
    ----------
    formula : tuple of (symbol, amount)
        Reduced formula, elements in alphabetical order.

    Returns
    -------
    dict or None
        Mean oxidation state per element; None where no balance exists, or the formula has more
        than 250 atoms.

    Notes
    -----
    The definition is pymatgen's ``Composition.oxi_state_guesses``: every atom takes one of its
    element's states known from the ICSD, the charges add up to zero, and the sum over atoms of
    the states' frequencies in the ICSD is largest. That method lists all combinations, which
    takes hours for some formulas. Here the largest sum for each total charge is built up atom by
    atom (dynamic programming), which gives the same maximum. Equal sums, which the method there
    decides by the order of the elements in the input, are decided by the smallest
    sum of n q^2 (q: an element's mean state, n its amount).

    Examples
    --------
    >>> formula_oxidation_states((("Fe", 3), ("O", 4)))
    {'Fe': 2.6666666666666665, 'O': -2.0}
    """
    if sum(amount for _, amount in formula) > MAX_FORMULA_ATOMS:
        return None
    # total charge -> (score, minus sum of n q^2, charge of each element so far); larger is better
    best: dict[int, tuple[int, float, tuple[int, ...]]] = {0: (0, 0.0, ())}
    for position, (symbol, amount) in enumerate(formula):
        scores = _best_scores(symbol, amount)
        is_last = position == len(formula) - 1
        longer: dict[int, tuple[int, float, tuple[int, ...]]] = {}
        for before, (score, cost, charges) in best.items():
            # the last element must balance what the others left: one charge only
            for charge in (-before,) if is_last else scores:
                if charge not in scores:
                    continue
                rank = (score + scores[charge], cost - charge * charge / amount)
                known = longer.get(before + charge)
                if known is None or rank > known[:2]:
                    longer[before + charge] = (*rank, (*charges, charge))
        best = longer
    if 0 not in best:
        return None
    charges = best[0][2]
    return {
        symbol: charge / amount for (symbol, amount), charge in zip(formula, charges, strict=True)
    }


def _best_scores(symbol: str, amount: int) -> dict[int, int]:
    """Return, for each total charge of `amount` atoms, the largest sum of state frequencies."""
    frequencies = _state_frequencies(symbol)
    best = {0: 0}
    for _ in range(amount):
        longer: dict[int, int] = {}
        for charge, score in best.items():
            for state, frequency in frequencies:
                value = score + frequency
                if value > longer.get(charge + state, -1):
                    longer[charge + state] = value
        best = longer
    return best


@lru_cache(maxsize=200)
def _state_frequencies(symbol: str) -> tuple[tuple[int, int], ...]:
    """Return the oxidation states of an element and how often the ICSD has them."""
    element = Element(symbol)
    states = element.icsd_oxidation_states or element.common_oxidation_states
    frequency = {
        int(species.oxi_state): int(count)
        for species, count in PRIOR_PROB.items()
        if species.symbol == symbol and species.oxi_state is not None
    }
    return tuple((int(state), frequency.get(int(state), 0)) for state in states)


def _bond_valences(structure: Structure, symmetry: CrystalSymmetry | None) -> FloatArray | None:
    """Return valences from bond valence sums in the primitive cell, or None."""
    kinds = [Element(kind.symbol) for kind in structure.elements]
    if all(kind.is_metal or kind.is_metalloid for kind in kinds):
        return None  # an alloy: bond valences mean nothing there, and the search is slow
    if symmetry is None:
        symmetry = crystal_symmetry(structure)
    _, first, copies = np.unique(symmetry.primitive_index, return_index=True, return_inverse=True)
    if len(first) > MAX_BOND_VALENCE_SITES:
        return None
    primitive = Structure(
        symmetry.primitive_lattice,
        [structure[int(index)].specie.symbol for index in first],
        [structure[int(index)].coords for index in first],
        coords_are_cartesian=True,
    )
    analyzer = BVAnalyzer(max_permutations=_MAX_BOND_VALENCE_ASSIGNMENTS)  # type: ignore[no-untyped-call]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # elements without parameters or electronegativity
        try:
            valences = analyzer.get_valences(primitive)
        except (ValueError, KeyError, TypeError):
            # "cannot be assigned", an element without parameters, no symmetry at the loose
            # tolerance used there: in every case there is no answer
            return None
    return np.array(valences, dtype=float)[copies]
