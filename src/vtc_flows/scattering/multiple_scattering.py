"""The absorber's full propagator over a set of energies."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vtc_flows.errors import InputError
from vtc_flows.scattering.adaptive import along_line
from vtc_flows.scattering.cluster import ClusterGeometry, SolutionMemory, SolverFacts
from vtc_flows.scattering.partition import EXACT, PARTITIONS

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Complex = NDArray[np.complex128]


def scattering_amplitudes(phases: Complex) -> Complex:
    """
    Return ``t_l = exp(i delta) sin(delta)`` of complex phase shifts.

    Examples
    --------
    >>> scattering_amplitudes(np.array([np.pi / 2])).round(12)
    array([0.+1.j])
    """
    amplitudes: Complex = np.exp(1j * phases) * np.sin(phases)
    return amplitudes


def absorber_green(
    positions_bohr: Floats,
    potential_index: Integers,
    momenta: Complex,
    phases: Complex,
    lmax: Integers,
    *,
    line: tuple[Floats, Floats] | None = None,
    method: str = "auto",
    tolerance: float = 1e-5,
) -> tuple[Complex, SolverFacts]:
    """
    Full propagator between the p states of the first atom.

    Parameters
    ----------
    positions_bohr : ndarray, shape (N, 3)
        The cluster, absorber first.
    potential_index : ndarray, shape (N,)
        Which potential each atom has.
    momenta : ndarray, shape (n,), complex
        ``p = sqrt(2 (E - V))``.
    phases : ndarray, shape (n, n_potentials, >= lmax + 1), complex
        Phase shifts.
    lmax : ndarray, shape (n_potentials,), int
        Largest ``l`` of each potential.
    line : tuple of two ndarrays of shape (k,), optional
        Real parts of the first k energies, where these ascend along a line above the real axis,
        and what errors of the propagator are multiplied with there: with the method "auto" it is
        interpolated where that is good enough (:mod:`vtc_flows.scattering.adaptive`).
    method : {"auto", "lu", "lu-unsymmetrised"}
        "auto" divides by symmetry and factorises only what scatters strongly; "lu" factorises every
        state of each symmetry sector; "lu-unsymmetrised" the whole cluster at once (a check).
    tolerance : float
        Relative error of the propagator at which iteration ends.

    Returns
    -------
    propagator : ndarray, shape (n, 3, 3), complex
        In the order x, y, z; zero for a lone atom.
    facts : SolverFacts
        What the solver did.

    Raises
    ------
    InputError
        For an unknown method.
    ClusterError
        If positions and potentials do not describe a cluster.
    """
    if method not in ("auto", "lu", "lu-unsymmetrised"):
        raise InputError(f"unknown method {method!r}: use auto, lu or lu-unsymmetrised")
    geometry = ClusterGeometry(
        positions_bohr,
        potential_index,
        lmax,
        source_l=(1,),
        use_symmetry=method != "lu-unsymmetrised",
        partitions=PARTITIONS if method == "auto" else (EXACT,),
        tolerance=tolerance,
    )
    amplitudes = scattering_amplitudes(phases)
    memory = SolutionMemory() if method == "auto" else None

    def solve(points: list[int]) -> Complex:
        return geometry.dipole_blocks(momenta[points], amplitudes[points], memory)

    propagator = np.empty((len(momenta), 3, 3), dtype=np.complex128)
    n_line = 0
    if line is not None and method == "auto" and len(positions_bohr) > 1:
        n_line = len(line[0])
        propagator[:n_line], _ = along_line(line[0], solve, line[1])
    propagator[n_line:] = solve(list(range(n_line, len(momenta))))
    return propagator, geometry.facts
