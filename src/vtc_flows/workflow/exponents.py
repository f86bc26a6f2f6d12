"""What the exponent of the moments does to a record: features and SAMS for each, no engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pymatgen.core.structure import Structure

from vtc_flows.crystal.features import structure_features
from vtc_flows.crystal.oxidation import guess_oxidation_states
from vtc_flows.crystal.sites import crystal_symmetry
from vtc_flows.physics.frames import best_frame
from vtc_flows.physics.sams import Gram, gram, gram_rotated, mean_sams
from vtc_flows.schemas import RecordSite, SamsSettings

#: Those that the VtC-XES anisotropy paper tried.
EXPONENTS = tuple(range(1, 15))


@dataclass(frozen=True)
class ExponentPoint:
    """
    Features and SAMS with one exponent.

    Attributes
    ----------
    exponent : int
        p in the moments' weights r^-p.
    qams, dams, iams : float
        e A^(2-p), e A^(1-p), A^(2-p).
    sams : float
        Mean over all sites in the shared frame of these moments, eV^-1/2.
    """

    exponent: int
    qams: float
    dams: float
    iams: float
    sams: float


def scan_exponents(
    structure: Structure,
    element: str,
    sites: Sequence[RecordSite],
    sams_settings: SamsSettings,
    exponents: Sequence[int] = EXPONENTS,
) -> list[ExponentPoint]:
    """
    Evaluate a record's spectra with several exponents.

    Parameters
    ----------
    structure : Structure
        The crystal, as in the record.
    element : str
        The absorber.
    sites : sequence of RecordSite
        All orbits of the element.
    sams_settings : SamsSettings
        Window, broadening and cutoff; its exponent is not used.
    exponents : sequence of int
        1 to 14.

    Returns
    -------
    list of ExponentPoint
        In the order of the exponents. Symmetry, oxidation states and the integrals over energy are
        the same for all.
    """
    symmetry = crystal_symmetry(structure)
    oxidation = guess_oxidation_states(structure, symmetry=symmetry)
    everywhere: list[Gram] | None = None
    points = []
    for exponent in exponents:
        features = structure_features(
            structure,
            element,
            exponent=exponent,
            moment_cutoff_angstrom=sams_settings.moment_cutoff_angstrom,
            symmetry=symmetry,
            oxidation=oxidation,
        )
        if everywhere is None:
            own = {site.site_index: _gram(site, sams_settings) for site in sites}
            everywhere = [
                gram_rotated(own[orbit.representative], rotation)
                for orbit in features.orbits
                for rotation in orbit.rotations
            ]
        frame = best_frame(features.frame, everywhere)
        points.append(
            ExponentPoint(
                exponent=exponent,
                qams=features.qams,
                dams=features.dams,
                iams=features.iams,
                sams=mean_sams(everywhere, frame.axes),
            )
        )
    return points


def _gram(site: RecordSite, sams_settings: SamsSettings) -> Gram:
    relative = np.asarray(site.energy_ev) - site.e_fermi_ev
    return gram(relative, site.tensor, sams_settings.window_ev, sams_settings.fwhm_ev)
