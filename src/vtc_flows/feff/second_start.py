"""
A second start of the self-consistency, where the first one was not straight.

Potentials can converge to more than one solution, and nothing in a converged one says that it is
the false one where its valence shells fit (:mod:`vtc_flows.feff.core_valence`). False solutions
were seen where impossible occupations had made the iterations start anew, where the core-valence
separation had moved, and after a step of the recovery. There, and only there, the potentials are
made once more on another path: half the mixing, more plain iterations first, and the separation in
the middle of its gap. A start that ends at another Fermi level contradicts the first.
"""

from __future__ import annotations

from dataclasses import replace

from vtc_flows.errors import ScfNotConvergedError
from vtc_flows.feff.core_valence import CoreValence
from vtc_flows.feff.site_input import SiteInput

#: How far apart the Fermi levels of two starts may be: between them lie the convergence criterion
#: (0.03 eV) and what the place of the separation within its gap does (up to 0.06 eV in 100 sites).
AGREEMENT_EV = 0.3

_MORE_PLAIN = 4
_COARSE_STEP_EV = 1.0


def is_straight(separation: CoreValence | None, restarts: int, *, recovered: bool) -> bool:
    """
    Tell whether a self-consistency went to its end without a turn.

    Parameters
    ----------
    separation : CoreValence or None
        Its core-valence separation, if the engine tells.
    restarts : int
        How often impossible occupations started it anew.
    recovered : bool
        Whether a step of the recovery led there.
    """
    moved = separation is not None and bool(separation.moves_ev)
    return not (restarts or recovered or moved)


def second_start(site: SiteInput, mixing: float) -> SiteInput:
    """
    Return the same site for another start: its potentials alone, without spectra.

    Parameters
    ----------
    site : SiteInput
        As it converged.
    mixing : float
        With which it ended.
    """
    scf = replace(
        site.scf,
        mixing=(mixing or site.scf.mixing) / 2,
        n_plain_mixing=site.scf.n_plain_mixing + _MORE_PLAIN,
        max_iterations=2 * site.scf.max_iterations,
        center_separation=True,
    )
    return replace(
        site,
        scf=scf,
        fms_radii_angstrom=(),
        lower_end=None,
        grid=replace(site.grid, step_ev=_COARSE_STEP_EV),
    )


def require_agreement(first_ev: float, second_ev: float) -> None:
    """
    Refuse a solution that another start contradicts.

    Parameters
    ----------
    first_ev, second_ev : float
        Fermi levels.

    Raises
    ------
    ScfNotConvergedError
        With the reason ``second_solution``.
    """
    if abs(first_ev - second_ev) > AGREEMENT_EV:
        raise ScfNotConvergedError(
            f"the potentials have two solutions: the Fermi level is {first_ev:.3f} eV, and "
            f"{second_ev:.3f} eV from another start with half the mixing",
            reason="second_solution",
        )
