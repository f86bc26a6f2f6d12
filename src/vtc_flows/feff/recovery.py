"""
What is tried, in order and always from scratch, when the potentials do not converge.

A restart from half-converged potentials can settle on another solution; a fresh start with
gentler settings does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from vtc_flows.feff.site_input import MAX_SCF_ATOMS, ScfControl, SiteInput


@dataclass(frozen=True)
class Step:
    """One rung: its name in documents, and the change of the SCF settings it makes."""

    name: str
    change: Callable[[ScfControl], ScfControl]


#: Mixing 0.05 is what FEFF's authors advise for difficult cases; the separation energy decides
#: which shallow core states float; a wider cluster removes surface states of a small one.
LADDER: tuple[Step, ...] = (
    Step("none", lambda scf: scf),
    Step(
        "slow mixing",
        lambda scf: replace(
            scf, mixing=0.05, n_plain_mixing=3, max_iterations=max(200, scf.max_iterations)
        ),
    ),
    Step(
        "core-valence separation",
        lambda scf: replace(scf, core_valence_ev=scf.core_valence_ev + 10.0, mixing=0.1),
    ),
    Step(
        "wider SCF cluster",
        lambda scf: replace(scf, radius_angstrom=1.2 * scf.radius_angstrom, mixing=0.1),
    ),
)


def attempts(site: SiteInput, ladder: tuple[Step, ...] = LADDER) -> Iterator[tuple[str, SiteInput]]:
    """
    Yield the name of each step and the site with its settings.

    Steps whose SCF clusters the engine could not hold are left out, but never the first.
    """
    for step in ladder:
        tried = replace(site, scf=step.change(site.scf))
        if tried.scf == site.scf or tried.for_potentials().largest_scf_cluster() <= MAX_SCF_ATOMS:
            yield step.name, tried
