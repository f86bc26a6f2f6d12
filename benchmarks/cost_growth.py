"""
How the cost of a site grows with its clusters.

    python benchmarks/cost_growth.py [NAME ...] [--scf 30,50,80,99] [--fms 30,80,150,300]

For crystals of ``benchmarks/data/ten_crystals.jsonl``: CPU seconds of the self-consistency with so
many neighbors, for each of its iterations, and of the multiple scattering, and the exponent of the
number of atoms that fits best.
"""

from __future__ import annotations

import argparse
import json
import sys

import numpy as np

from cost import TEN
from vtc_flows.crystal.clusters import absorber_cluster
from vtc_flows.crystal.sites import absorbers, site_orbits
from vtc_flows.errors import ClusterError
from vtc_flows.feff.cluster_input import site_input
from vtc_flows.feff.engine import SiteSpectrum
from vtc_flows.feff.registry import create_engine
from vtc_flows.schemas import XesSettings
from vtc_flows.settings import load_settings

NAMES = ("mp-5000", "mp-20448", "mp-11175")


def spectra(name: str, settings: XesSettings) -> list[SiteSpectrum]:
    """Run the first orbit of a crystal."""
    from pymatgen.core import Structure

    entries = (json.loads(line) for line in TEN.read_text().splitlines())
    structure = Structure.from_dict(next(e["structure"] for e in entries if e["id"] == name))
    orbit = site_orbits(structure, absorbers(structure)[0])[0]
    cluster = absorber_cluster(
        structure,
        orbit.representative,
        settings.listed_radius_angstrom,
        n_neighbors=settings.n_neighbors,
    )
    return create_engine("feff8l", load_settings()).run_site(site_input(cluster, settings))


def exponent(sizes: list[int], seconds: list[float]) -> float:
    """Return the slope of the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def line(name: str, what: str, sizes: list[int], seconds: list[float]) -> str:
    """Return one line of the table."""
    pairs = ", ".join(f"{n}: {s:.2f}" for n, s in zip(sizes, seconds, strict=True))
    return f"| {name} | {what} | {pairs} | {exponent(sizes, seconds):.1f} |"


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME")
    parser.add_argument("--scf", default="30,50,80,99")
    parser.add_argument("--fms", default="30,80,150,300")
    arguments = parser.parse_args()
    scf, fms = ([int(n) for n in given.split(",")] for given in (arguments.scf, arguments.fms))
    print("| crystal | what | neighbors: CPU s | exponent |\n| --- | --- | --- | --- |")
    for name in arguments.names:
        of_iteration = {}
        for n in scf:
            try:
                found = spectra(name, XesSettings(n_scf_atoms=n))[0]
            except ClusterError as error:  # 100 atoms are the most, with the last shell complete
                print(f"{name} is left out at {n}: {error}", file=sys.stderr)
                continue
            of_iteration[n] = found.timings_s["scf"] / found.scf.n_iterations
        print(line(name, "SCF, one iteration", list(of_iteration), list(of_iteration.values())))
        sizes = spectra(name, XesSettings(fms_atoms=tuple(fms)))
        print(line(name, "FMS", fms, [s.timings_s["fms"] for s in sizes]), flush=True)


if __name__ == "__main__":
    main()
