"""From a crystal's cluster and settings to an engine's input."""

from __future__ import annotations

import numpy as np

from vtc_flows.crystal.clusters import Cluster, count_within, scf_radius, shell_radius
from vtc_flows.feff.site_input import (
    MAX_ATOMS,
    EnergyGrid,
    LowerEnd,
    PotentialSpec,
    ScfControl,
    SiteInput,
)
from vtc_flows.schemas import XesSettings

#: Atoms beyond the SCF cluster whose potentials overlap with its outermost ones (Angstrom).
_OVERLAP_MARGIN_ANGSTROM = 3.0


def site_input(cluster: Cluster, settings: XesSettings) -> SiteInput:
    """
    Return what an engine needs to know about a cluster's absorber.

    Parameters
    ----------
    cluster : Cluster
        Atoms around the absorber, listed beyond the largest scattering cluster.
    settings : XesSettings
        Sizes, grid, core hole.

    Returns
    -------
    SiteInput
        One FMS radius for each size, shells complete.

    Raises
    ------
    ClusterError
        If too few atoms are listed or the SCF cluster passes the engine's limit.
    """
    scf_reach = scf_radius(cluster, settings.n_scf_atoms)
    listed = max(settings.listed_radius_angstrom, scf_reach + _OVERLAP_MARGIN_ANGSTROM)
    return SiteInput(
        positions_angstrom=tuple((x, y, z) for x, y, z in cluster.positions_angstrom.tolist()),
        potential_index=tuple(cluster.potential_index.tolist()),
        potentials=tuple(
            PotentialSpec.with_default_lmax(p.atomic_number, p.label, p.stoichiometry)
            for p in cluster.potentials
        ),
        scf=ScfControl(
            radius_angstrom=scf_reach,
            max_iterations=settings.scf_max_iterations,
            mixing=settings.scf_mixing,
            n_plain_mixing=settings.scf_plain_iterations,
        ),
        fms_radii_angstrom=tuple(shell_radius(cluster, n) for n in settings.fms_atoms),
        grid=EnergyGrid(
            -settings.energy_below_ev, settings.energy_above_ev, settings.energy_step_ev
        ),
        lower_end=_lower_end(settings),
        smooth=settings.valence_only,
        core_hole=settings.core_hole == "fsr",
        n_potential_atoms=_n_potential_atoms(cluster, listed),
    )


def _lower_end(settings: XesSettings) -> LowerEnd | None:
    if not settings.valence_only:
        return None
    if settings.valence_bottom_ev is not None:
        return LowerEnd(-settings.valence_bottom_ev, above_3p=False)
    return LowerEnd(settings.valence_depth_ev)


def _n_potential_atoms(cluster: Cluster, radius_angstrom: float) -> int:
    """Return how many atoms make the potentials: those within a radius, and one of each kind."""
    _, first = np.unique(cluster.potential_index, return_index=True)
    return min(max(count_within(cluster, radius_angstrom), int(first.max()) + 1), MAX_ATOMS)
