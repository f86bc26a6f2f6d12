"""
Compare our batches of radial solutions with FEFF's own ``rholie_``, in the middle of FEFF's run.

Run as ``python tests/support/radial_process.py LIBRARY SITE_JSON``; prints, as JSON, the largest
deviation of each quantity, relative to its largest value, over the first calls that FEFF makes
while it parts core and valence.
"""

import json
import os
import sys
import threading
from pathlib import Path

import numpy as np

from vtc_flows.feff.memory import complexes, doubles, floating, integer
from vtc_flows.feff.potph import PotentialsAndPhases
from vtc_flows.feff.radial import AtomFacts, DiracSolver, Sphere
from vtc_flows.feff.scf_arrays import N_ANGULAR, RADIAL_POINTS
from vtc_flows.feff.site_input import SiteInput

CALLS = 40


def main() -> None:
    library, site = Path(sys.argv[1]), SiteInput.from_json(Path(sys.argv[2]).read_text())
    source = PotentialsAndPhases(
        library, site.for_potentials(), Path(), lambda *_: None, lambda error: os._exit(3)
    )
    hooked = source._library
    solver, worst = DiracSolver(hooked), {}
    calls = 0

    def compare(*a):
        nonlocal calls
        rholie(*a)
        calls += 1
        energy, outside = complexes(a[5], 1)[0], complexes(a[14], 1)[0].real
        sphere = Sphere(
            solver,
            AtomFacts(
                integer(a[22]).value,
                integer(a[25]).value,
                integer(a[24]).value,
                floating(a[23]).value,
            ),
            doubles(a[9], RADIAL_POINTS) + outside,
            outside,
            (floating(a[7]).value, floating(a[8]).value),
            integer(a[26]).value,
        )
        ours = sphere.solve(np.array([energy - 0.1, energy, energy + 0.1j]))
        n = sphere.n_radii
        grid = complexes(a[19], N_ANGULAR * RADIAL_POINTS).reshape(N_ANGULAR, -1)
        theirs = {
            "scattered": complexes(a[17], N_ANGULAR),
            "embedded": complexes(a[18], N_ANGULAR),
            "scattered_density": grid[:, :n],
            "embedded_density": complexes(a[20], RADIAL_POINTS)[:n],
            "phases": complexes(a[21], N_ANGULAR),
        }
        for name, expected in theirs.items():
            off = np.abs(getattr(ours, name)[1] - expected).max() / np.abs(expected).max()
            worst[name] = max(worst.get(name, 0.0), float(off))
        if calls == CALLS:
            sys.stdout.write("\n" + json.dumps(worst) + "\n")
            sys.stdout.flush()
            os._exit(0)

    rholie = hooked.replace("rholie_", 27, compare)
    source.run()


if __name__ == "__main__":
    threading.stack_size(512 << 20)
    thread = threading.Thread(target=main)
    thread.start()
    thread.join()
    os._exit(2)
