"""From spectrum tensors to anisotropies: arrays and documents of sites in, numbers out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pymatgen.core.structure import Structure

from vtc_flows.crystal.features import StructureFeatures, structure_features
from vtc_flows.crystal.sites import SiteOrbit, crystal_symmetry
from vtc_flows.errors import EngineOutputError, InputError
from vtc_flows.physics.frames import Frame, best_frame, principal_frame
from vtc_flows.physics.sams import (
    Gram,
    frame_free_anisotropy,
    gram,
    gram_rotated,
    maximum_sams,
    mean_sams,
    sam,
    sams,
)
from vtc_flows.physics.tensors import (
    crystal_sum,
    smallest_eigenvalue,
    symmetrised,
    symmetry_residual,
)
from vtc_flows.schemas import Matrix3, RecordSite, SamsSettings, SpectrumDoc

FloatArray = NDArray[np.float64]

_SAME_GRID_EV = 1e-6
#: A tensor this near to its site's symmetry has it, and is freed of the rounding in between. One
#: further away tells of a structure that is distorted within the tolerance of its space group.
SYMMETRIC_RESIDUAL = 1e-3

#: What a record holds of all its sites together, in the order in which it is made.
_VALUES = (
    "sams",
    "sams_site",
    "sams_max",
    "sams_max_frame",
    "sams_crystal",
    "sams_crystal_max",
    "sams_crystal_max_frame",
    "anisotropy",
    "anisotropy_max",
    "anisotropy_2ev",
    "anisotropy_max_2ev",
)

#: Broadening of the frame-free anisotropy, eV FWHM: none, and about the lifetime of the core hole
#: with a spectrometer.
_WIDTHS_EV = (0.0, 2.0)


@dataclass(frozen=True)
class Crystal:
    """What is known without spectra: features, and each orbit's own frame."""

    features: StructureFeatures
    own_frames: tuple[Frame, ...]

    @classmethod
    def of(cls, structure: Structure, element: str, sams_settings: SamsSettings) -> Crystal:
        """Return what is known of an element in a crystal; raise StructureError if unusable."""
        symmetry = crystal_symmetry(structure)
        features = structure_features(
            structure,
            element,
            exponent=sams_settings.moment_exponent,
            moment_cutoff_angstrom=sams_settings.moment_cutoff_angstrom,
            symmetry=symmetry,
        )
        place = {int(site): number for number, site in enumerate(features.site_indices)}
        frames = tuple(
            principal_frame(
                features.site_moments[place[orbit.representative]], symmetry.conventional_lattice
            )
            for orbit in features.orbits
        )
        return cls(features, frames)


@dataclass(frozen=True)
class Evaluated:
    """The part of a record that comes from spectra; its window is cut where they begin."""

    frame: Frame
    window_ev: tuple[float, float]
    values: dict[str, float | Matrix3 | None]
    sites: list[RecordSite]


def evaluate(
    crystal: Crystal,
    spectra: Sequence[SpectrumDoc | None],
    sams_settings: SamsSettings,
) -> Evaluated:
    """
    Evaluate the spectra of an element.

    Parameters
    ----------
    crystal : Crystal
        Orbits, shared frame, own frames.
    spectra : sequence of SpectrumDoc or None
        One for each orbit; None where there is none.
    sams_settings : SamsSettings
        Window and broadening.

    Returns
    -------
    Evaluated
        SAMS of whatever kind only where every orbit has a spectrum, else None.

    Raises
    ------
    EngineOutputError
        If the sites' energies differ relative to the Fermi level.

    Notes
    -----
    The shared frame is that of the moments; what symmetry leaves free of it is chosen to make the
    mean SAMS largest. A site carried by W has the tensor W T W^T, so whole orbits cost no more
    than their representatives. For the crystal's sum, tensors are brought to one scale by their
    edge cross sections and aligned at the Fermi level.
    """
    orbits, shared = crystal.features.orbits, crystal.features.frame
    window = window_of_valence(spectra, sams_settings.window_ev)
    sams_settings = sams_settings.model_copy(update={"window_ev": window})
    found = [
        _Found.of(orbit, spectrum, own_frame, sams_settings)
        for orbit, spectrum, own_frame in zip(orbits, spectra, crystal.own_frames, strict=True)
        if spectrum is not None
    ]
    complete = len(found) == len(spectra)
    everywhere = [
        gram_rotated(one.gram, rotation) for one in found for rotation in one.orbit.rotations
    ]
    # a part of the sites has a best frame of its own, which is not the crystal's
    frame = best_frame(shared, everywhere) if complete else shared
    sites = [_record_site(one, frame) for one in found]
    if not complete:
        return Evaluated(frame, window, dict.fromkeys(_VALUES), sites)
    largest, largest_frame = maximum_sams(everywhere, near=frame.axes)
    total = _crystal_gram(found, sams_settings)
    total_largest, total_frame = maximum_sams([total], near=frame.axes)
    weights = [site.multiplicity for site in sites]
    values: tuple[float | Matrix3, ...] = (
        mean_sams(everywhere, frame.axes),
        float(np.average([site.sams_own_frame for site in sites], weights=weights)),
        largest,
        matrix(largest_frame),
        sams(total, frame.axes),
        total_largest,
        matrix(total_frame),
        *_frame_free(found, window),
    )
    return Evaluated(frame, window, dict(zip(_VALUES, values, strict=True)), sites)


def window_of_valence(
    spectra: Sequence[SpectrumDoc | None], window_ev: tuple[float, float]
) -> tuple[float, float]:
    """
    Return a window cut where the states that emit begin, at the highest bottom of all sites.

    Raises
    ------
    InputError
        If nothing of it is left.
    """
    low, high = window_ev
    for spectrum in spectra:
        if spectrum is not None and spectrum.valence_bottom is not None:
            low = max(low, spectrum.valence_bottom.energy_ev - spectrum.e_fermi_ev)
    low = round(low, 6)
    if low >= high:
        raise InputError(
            f"the window E_F{window_ev[0]:+g} ... E_F{high:+g} eV lies below the states that emit, "
            f"which begin at E_F{low:+.1f} eV: give a higher one"
        )
    return low, high


@dataclass(frozen=True)
class _Found:
    """An orbit with its representative's spectrum."""

    orbit: SiteOrbit
    spectrum: SpectrumDoc
    own_frame: Frame
    tensor: FloatArray
    residual: float
    gram: Gram

    @classmethod
    def of(
        cls, orbit: SiteOrbit, spectrum: SpectrumDoc, own_frame: Frame, sams_settings: SamsSettings
    ) -> _Found:
        """Return an orbit with its tensor freed of rounding against the site's symmetry."""
        tensor = np.asarray(spectrum.tensor)
        residual = symmetry_residual(tensor, orbit.site_rotations)
        if residual < SYMMETRIC_RESIDUAL:
            tensor = symmetrised(tensor, orbit.site_rotations)
        own = gram(
            _relative_energy(spectrum), tensor, sams_settings.window_ev, sams_settings.fwhm_ev
        )
        return cls(orbit, spectrum, own_frame, tensor, residual, own)


def _record_site(one: _Found, frame: Frame) -> RecordSite:
    orbit, spectrum, own = one.orbit, one.spectrum, one.gram
    own_frame = best_frame(one.own_frame, [own])
    return RecordSite(
        site_index=orbit.representative,
        equivalent_indices=list(orbit.indices),
        frac_coords=spectrum.frac_coords,
        multiplicity=orbit.multiplicity,
        n_fms_atoms=spectrum.n_fms_atoms,
        fms_radius_angstrom=spectrum.fms_radius_angstrom,
        e_fermi_ev=spectrum.e_fermi_ev,
        valence_bottom=spectrum.valence_bottom,
        converged=spectrum.converged,
        scf=spectrum.scf,
        energy_ev=spectrum.energy_ev,
        tensor=one.tensor.tolist(),
        background=spectrum.background,
        edge_cross_section_angstrom2=spectrum.edge_cross_section_angstrom2,
        sam=matrix(sam(own, frame.axes)),
        sams=sams(own, frame.axes),
        own_frame=matrix(own_frame.axes),
        sams_own_frame=sams(own, own_frame.axes),
        symmetry_residual=one.residual,
        smallest_eigenvalue=smallest_eigenvalue(one.tensor),
        timings=spectrum.timings,
        checks=spectrum.checks,
        remarks=spectrum.remarks,
        engine_input=spectrum.engine_input,
    )


def _frame_free(found: Sequence[_Found], window_ev: tuple[float, float]) -> Iterator[float]:
    """Yield mean and largest frame-free anisotropy of the sites at each width."""
    weights = [one.orbit.multiplicity for one in found]
    for width in _WIDTHS_EV:
        values = [
            frame_free_anisotropy(
                gram(_relative_energy(one.spectrum), one.tensor, window_ev, width)
            )
            for one in found
        ]
        yield float(np.average(values, weights=weights))
        yield max(values)


def _crystal_gram(found: Sequence[_Found], sams_settings: SamsSettings) -> Gram:
    """Return the Gram form of the sum over all sites, on one scale, Fermi levels aligned."""
    energy = _relative_energy(found[0].spectrum)
    total = np.zeros((len(energy), 6))
    for one in found:
        own_energy = _relative_energy(one.spectrum)
        if own_energy.shape != energy.shape or np.abs(own_energy - energy).max() > _SAME_GRID_EV:
            raise EngineOutputError(
                "the sites' spectra have different energies relative to the Fermi level, so they "
                "cannot be added up: the engine must use one grid for all"
            )
        scaled = one.tensor * one.spectrum.edge_cross_section_angstrom2
        total += crystal_sum(scaled, one.orbit.rotations)
    scale = np.abs(total).max()  # cross sections are tiny numbers; SAMS does not see the unit
    return gram(energy, total / scale, sams_settings.window_ev, sams_settings.fwhm_ev)


def _relative_energy(spectrum: SpectrumDoc) -> FloatArray:
    return np.asarray(spectrum.energy_ev) - spectrum.e_fermi_ev


def matrix(values: FloatArray) -> Matrix3:
    """Return a 3x3 array as documents hold it."""
    rows = [(float(x), float(y), float(z)) for x, y, z in values]
    return rows[0], rows[1], rows[2]
