"""The whole of a site: phase shifts in, polarization tensor of the emission out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vtc_flows.errors import EngineOutputError, InputError
from vtc_flows.scattering.cluster import SolverFacts
from vtc_flows.scattering.continuation import with_bottom
from vtc_flows.scattering.contraction import fine_structure, importance, spectrum_function
from vtc_flows.scattering.mesh import EnergyMesh
from vtc_flows.scattering.multiple_scattering import absorber_green
from vtc_flows.scattering.occupied import occupied_spectrum

Floats = NDArray[np.float64]
Integers = NDArray[np.intp]
Complex = NDArray[np.complex128]


@dataclass(frozen=True)
class PhaseData:
    """
    What the potentials say about one absorber, on one energy mesh. Hartree atomic units.

    Attributes
    ----------
    mesh : EnergyMesh
        Energies.
    reference_ha : ndarray, shape (n,), complex
        Interstitial level, self-energy included, at each energy.
    phases : ndarray, shape (n, n_potentials, >= lmax + 1), complex
        Phase shifts.
    lmax : ndarray, shape (n_potentials,), int
        Largest ``l`` of each potential that scatters.
    dipole : ndarray, shape (n, 2), complex
        Reduced dipole elements to p3/2 and p1/2.
    cross_section : ndarray, shape (n,), complex
        Cross section of the embedded atom.
    normalisation : ndarray, shape (n,)
        Factor of the fine structure, in the unit of the cross section.

    Raises
    ------
    EngineOutputError
        If shapes do not agree or a number that matters is not finite.
    """

    mesh: EnergyMesh
    reference_ha: Complex
    phases: Complex
    lmax: Integers
    dipole: Complex
    cross_section: Complex
    normalisation: Floats

    def __post_init__(self) -> None:
        n, n_potentials = len(self.mesh.energy_ha), len(self.lmax)
        shapes = {
            "reference_ha": (self.reference_ha, (n,)),
            "dipole": (self.dipole, (n, 2)),
            "cross_section": (self.cross_section, (n,)),
            "normalisation": (self.normalisation, (n,)),
            "phases": (self.phases, (n, n_potentials, *self.phases.shape[2:])),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                raise EngineOutputError(f"{name} has shape {array.shape}, need {shape}")
            if not np.isfinite(array[self.mesh.matters]).all():
                raise EngineOutputError(f"{name} holds numbers that are not finite")
        if self.phases.ndim != 3 or self.phases.shape[2] <= int(np.max(self.lmax)):
            raise EngineOutputError("phases do not reach lmax")

    @property
    def momenta(self) -> Complex:
        """Interstitial momentum ``sqrt(2 (E - V))`` at each energy."""
        momenta: Complex = np.sqrt(2 * (self.mesh.energy_ha - self.reference_ha))
        return momenta

    @property
    def edge_normalisation(self) -> float:
        """Normalisation at the Fermi level: the unit of the spectrum."""
        horizontal = slice(0, self.mesh.n_horizontal)
        return float(
            np.interp(
                self.mesh.fermi_ha,
                self.mesh.energy_ha[horizontal].real,
                self.normalisation[horizontal],
            )
        )


@dataclass(frozen=True)
class Emission:
    """
    Emission of one site.

    Attributes
    ----------
    energy_ha : ndarray, shape (k,)
        Electron energies.
    tensor : ndarray, shape (k, 6)
        xx, yy, zz, yz, xz, xy in the frame of the positions, in units of ``edge_normalisation``.
    background : ndarray, shape (k,)
        The same for the embedded atom alone; isotropic.
    edge_normalisation : float
        Unit of the two above, in the unit of the cross section: multiply by it to put sites on one
        scale.
    solver : SolverFacts
        What the solver did.
    """

    energy_ha: Floats
    tensor: Floats
    background: Floats
    edge_normalisation: float
    solver: SolverFacts


def emission_tensor(
    data: PhaseData,
    positions_bohr: Floats,
    potential_index: Integers,
    *,
    energy_ha: Floats | None = None,
    bottom_ha: float | None = None,
    core_level_ha: float | None = None,
    refine: int = 4,
    amplitude: float = 1.0,
    interpolate: bool = True,
    method: str = "auto",
) -> Emission:
    """
    Polarization tensor of the valence-to-core emission of the first atom.

    Call it once per cluster size with the same `PhaseData`.

    Parameters
    ----------
    data : PhaseData
        Phase shifts and dipole elements.
    positions_bohr : ndarray, shape (N, 3)
        The cluster, absorber first.
    potential_index : ndarray, shape (N,)
        Which potential each atom has.
    energy_ha : ndarray, optional
        Energies wanted; by default the horizontal points of the mesh. Above the Fermi level any
        energy will do, and below the bottom of the states that emit; where the mesh has no such
        end, it has to cover them.
    bottom_ha : float, optional
        Where the states that emit begin, for a mesh that goes on below it and has no such end.
    core_level_ha : float, optional
        A core level below the bottom; see `vtc_flows.scattering.continuation.with_bottom`.
    refine : int
        Contour steps per mesh step, see `occupied_spectrum`; 1 is FEFF's own discretisation.
    amplitude : float
        Many-body amplitude ``S0^2``.
    interpolate : bool
        Whether to interpolate the propagator between energies where that is good enough, which
        asks for smooth phases.
    method : str
        See `absorber_green`.

    Returns
    -------
    Emission

    Raises
    ------
    InputError
        If energies below the mesh are wanted.
    ClusterError
        If positions and potentials do not describe a cluster.
    EngineOutputError
        If the result is not finite.
    """
    mesh = data.mesh
    horizontal = mesh.energy_ha[: mesh.n_horizontal].real
    wanted = horizontal if energy_ha is None else np.asarray(energy_ha, dtype=np.float64)
    has_bottom = mesh.bottom_ha is not None or bottom_ha is not None
    if len(wanted) and not has_bottom and wanted.min() < horizontal[0] - 1e-9:
        raise InputError("energies below the first point of the mesh were asked for")
    matters = np.flatnonzero(mesh.matters)
    propagator, facts = absorber_green(
        positions_bohr,
        potential_index,
        data.momenta[matters],
        data.phases[matters],
        data.lmax,
        line=_line(data) if interpolate else None,
        method=method,
    )
    functions = np.zeros((len(mesh.energy_ha), 7), dtype=np.complex128)
    chi = fine_structure(propagator, data.dipole[matters])
    functions[matters, :6] = spectrum_function(
        chi, data.cross_section[matters], data.normalisation[matters], amplitude
    )
    functions[matters, 6] = data.cross_section[matters]
    unit = data.edge_normalisation
    if bottom_ha is not None and mesh.bottom_ha is None:
        mesh, functions = with_bottom(mesh, functions, bottom_ha, core_level_ha)
    spectra = occupied_spectrum(mesh, functions, wanted, refine).imag / unit
    if not np.isfinite(spectra).all():
        raise EngineOutputError("the spectrum is not finite")
    return Emission(wanted, spectra[:, :6], spectra[:, 6], unit, facts)


def _line(data: PhaseData) -> tuple[Floats, Floats]:
    """Return the energies up to the Fermi level, and what the propagator is worth at each."""
    below = slice(0, data.mesh.fermi_index + 1)
    factor = importance(data.dipole[below], data.normalisation[below])
    return data.mesh.energy_ha[below].real, factor
