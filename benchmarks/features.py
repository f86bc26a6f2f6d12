"""
Features per second, against the usual way to write them with pymatgen objects.

    python benchmarks/features.py STRUCTURES.jsonl.gz [--structures 1000] [--rival 100]

The file (or the environment variable VTC_STRUCTURES) holds JSON lines {"id", "structure"}. The
rival computes the same numbers with SpacegroupAnalyzer, Composition.oxi_state_guesses (formulas of
at most 30 atoms; it does not end on some longer ones) and one get_neighbors call for every site.
CPU seconds of one core; both warm; structures already in memory.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
from pymatgen.core import Element
from pymatgen.symmetry.analyzer import SpacegroupAnalyzer

from vtc_flows.crystal.features import features_by_element
from vtc_flows.crystal.sites import TRANSITION_METALS
from vtc_flows.crystal.sources import load_structures
from vtc_flows.errors import VtcFlowsError

if TYPE_CHECKING:
    from pymatgen.core import Structure

    from vtc_flows.crystal.features import StructureFeatures

EXPONENT = 8
LONGEST_FORMULA_OF_THE_RIVAL = 30


def rival_features(structure: Structure) -> dict[str, dict[str, float]]:
    """Return the features as one writes them with pymatgen's objects, no rules for equal axes."""
    analyzer = SpacegroupAnalyzer(structure, symprec=0.01)
    number = analyzer.get_space_group_number()
    formula = structure.composition.reduced_composition
    guesses = (
        formula.oxi_state_guesses() if formula.num_atoms <= LONGEST_FORMULA_OF_THE_RIVAL else ()
    )
    states = guesses[0] if guesses else dict.fromkeys(formula.get_el_amt_dict(), 0.0)
    found = {}
    for element in {site.specie.symbol for site in structure} & set(TRANSITION_METALS):
        sites, electronegativity = [], []
        for site in structure:
            if site.specie.symbol != element:
                continue
            quadrupole, dipole, inertia = np.zeros((3, 3)), np.zeros(3), np.zeros((3, 3))
            neighbors = structure.get_neighbors(site, 12.0)
            for neighbor in neighbors:
                r = neighbor.coords - site.coords
                length2 = r @ r
                weight = length2 ** (-EXPONENT / 2)
                charge = states[neighbor.specie.symbol]
                outer = np.outer(r, r)
                quadrupole += charge * weight * (3 * outer - length2 * np.eye(3))
                inertia += weight * (length2 * np.eye(3) - outer)
                dipole += charge * weight * r
            sites.append((quadrupole, dipole, inertia))
            near = sorted(neighbors, key=lambda n: n.nn_distance)
            radius = near[29].nn_distance + 1e-3 if len(near) > 29 else 12.0
            values = [site.specie.X, *(n.specie.X for n in near if n.nn_distance <= radius)]
            electronegativity.append((np.mean(values), np.std(values)))
        axes = np.linalg.eigh(np.mean([q for q, _, _ in sites], axis=0))[1]
        sums = []
        for quadrupole, dipole, inertia in sites:
            diagonals = (
                np.diag(axes.T @ quadrupole @ axes),
                abs(dipole @ axes),
                np.diag(axes.T @ inertia @ axes),
            )
            sums.append([abs(np.subtract.outer(d, d)).sum() / 2 for d in diagonals])
        qams, dams, iams = np.mean(sums, axis=0)
        mean, spread = np.mean(electronegativity, axis=0)
        found[element] = {
            "qams": qams,
            "dams": dams,
            "iams": iams,
            "density": float(structure.density),
            "n_sg": number / 230,
            "n_3d": Element(element).Z - 18 - states[element],
            "en_mean": mean,
            "en_std": spread,
        }
    return found


def is_comparable(features: StructureFeatures, structure: Structure) -> bool:
    """Return whether the rival's shorter rules define the same numbers."""
    return (
        features.frame.resolved_by == ("quadrupole",)
        and features.oxidation_method == "formula guess"
        and structure.composition.reduced_composition.num_atoms <= LONGEST_FORMULA_OF_THE_RIVAL
    )


def main() -> None:
    """Run both and print the ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("structures", nargs="?", default=os.environ.get("VTC_STRUCTURES"))
    parser.add_argument("--structures", dest="count", type=int, default=1000)
    parser.add_argument("--rival", type=int, default=100, help="structures given to the rival")
    options = parser.parse_args()
    if not options.structures:
        parser.error("give a file of JSON lines, or set VTC_STRUCTURES")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run(options.structures, options.count, options.rival)


def run(path: str, count: int, n_rival: int) -> None:
    """Time the features of `count` structures, and the rival's of an even choice of them."""
    begin = time.process_time()
    # the file is sorted by id; the whole of it spreads the choice over all kinds
    records = list(load_structures([path]))
    seconds_reading = time.process_time() - begin
    n_read = len(records)
    records = list(islice(records, 0, None, max(1, n_read // count)))[:count]
    for record in records[:20]:  # warm: tables of elements and radii, imports
        features_by_element(record.structure)

    failures: Counter[str] = Counter()
    methods: Counter[str] = Counter()
    ours = {}
    seconds = []
    for record in records:
        begin = time.process_time()
        try:
            ours[record.material_id] = features_by_element(record.structure)
        except VtcFlowsError as error:
            failures[type(error).__name__] += 1
        seconds.append(time.process_time() - begin)
    for features in ours.values():
        methods.update([next(iter(features.values())).oxidation_method])
    n_records = sum(len(features) for features in ours.values())
    total = sum(seconds)
    print(f"read                {n_read} structures, {1e3 * seconds_reading / n_read:.2f} ms each")
    print(f"structures          {len(records)} ({n_records} records of structure and element)")
    print(f"failures by kind    {dict(failures) or 'none'}")
    print(f"oxidation states    {dict(methods.most_common())}")
    print(
        f"per structure       median {1e3 * np.median(seconds):.2f} ms, "
        f"slowest {max(seconds):.3f} s"
    )
    print(f"features            {len(records) / total:.0f} structures/s/core")

    chosen = [r for r in records if r.material_id in ours][:: max(1, len(records) // n_rival)]
    rival_failures: Counter[str] = Counter()
    rival_features(chosen[0].structure)
    own_seconds = rival_seconds = 0.0
    equal = compared = 0
    for record in chosen:
        begin = time.process_time()
        mine = features_by_element(record.structure)
        own_seconds += time.process_time() - begin
        begin = time.process_time()
        try:
            theirs = rival_features(record.structure)
        except Exception as error:
            # whatever stops the rival is counted, not judged
            rival_failures[type(error).__name__] += 1
            theirs = {}
        rival_seconds += time.process_time() - begin
        for element, values in theirs.items():
            if not is_comparable(mine[element], record.structure):
                continue
            compared += 1
            # what symmetry makes zero is noise of the coordinates in the rival's numbers
            noise = 1e-4 * float(mine[element].site_moments.quadrupole_scale.max())
            equal += all(
                abs(mine[element].values()[name] - value) <= 1e-3 * abs(value) + noise
                for name, value in values.items()
            )
    print(
        f"rival               {len(chosen) / rival_seconds:.1f} structures/s/core on "
        f"{len(chosen)} of them, failures {dict(rival_failures) or 'none'}"
    )
    print(f"equal to the rival  {equal} of {compared} records whose frame the quadrupole decides")
    print(f"ratio               {rival_seconds / own_seconds:.0f} times the rival's speed")


if __name__ == "__main__":
    main()
