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


#: Gentler mixing is what FEFF's authors advise for difficult cases, and a mixing that overshoots
#: can lead the library out of its arrays. Occupations can be impossible in the first iterations
#: only, where starting anew does not help: so the second step goes on through them. A wider
#: cluster removes surface states of a small one.
LADDER: tuple[Step, ...] = (
    Step("none", lambda scf: scf),
    Step("half mixing", lambda scf: replace(_gentler(scf, 2.0), restart_on_bad_counts=False)),
    Step("quarter mixing", lambda scf: replace(_gentler(scf, 4.0), n_plain_mixing=3)),
    Step(
        "wider SCF cluster",
        lambda scf: replace(_gentler(scf, 2.0), radius_angstrom=1.2 * scf.radius_angstrom),
    ),
)

_LEAST_ITERATIONS = 100


def _gentler(scf: ScfControl, divisor: float) -> ScfControl:
    return replace(
        scf,
        mixing=scf.mixing / divisor,
        max_iterations=max(_LEAST_ITERATIONS, scf.max_iterations),
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
