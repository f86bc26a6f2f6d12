"""Sites of a data set of a few crystals, with spectra of the analytic engine."""

from __future__ import annotations

import json
from pathlib import Path

from pymatgen.core import Lattice, Structure

from vtc_flows.crystal.sites import site_orbits
from vtc_flows.dataset.rows import row_of
from vtc_flows.dataset.shards import SiteShards
from vtc_flows.schemas import XesSettings
from vtc_flows.workflow.jobs import SiteXesMaker

#: Material, element, part.
ORDER = (
    ("mp-1", "Fe", "test"),
    ("mp-2", "Fe", "train"),
    ("mp-2", "Ni", "train"),
    ("mp-3", "Ti", "train"),
)


def crystals() -> dict[str, Structure]:
    """Return the crystals: one with two kinds of sites, one with two 3d metals."""
    coords = [[0, 0, 0], [0.5, 0.5, 0.45], [0.5, 0.5, 0], [0, 0, 0.52]]
    return {
        "mp-1": Structure(Lattice.orthorhombic(4.3, 4.5, 4.6), ["Fe", "Fe", "O", "O"], coords),
        "mp-2": Structure(Lattice.orthorhombic(4.2, 4.4, 4.9), ["Fe", "Ni", "S", "S"], coords),
        "mp-3": Structure.from_spacegroup(
            "P4_2/mnm", Lattice.tetragonal(4.6, 2.96), ["Ti", "O"], [[0, 0, 0], [0.305, 0.305, 0]]
        ),
    }


def put_sites(folder: Path) -> dict[str, str]:
    """Write their sites into a folder; return the crystals as lines of JSON."""
    made = crystals()
    shards = SiteShards(folder)
    for rank, (name, element, part) in enumerate(ORDER, 1):
        sizes = (30, 80) if part == "test" else (30,)
        settings = XesSettings(fms_atoms=sizes)
        maker = SiteXesMaker(engine="analytic_engine:make", settings=settings)
        for orbit in site_orbits(made[name], element):
            document = maker.compute(
                made[name], orbit.representative, name, multiplicity=orbit.multiplicity
            )
            shards.add(row_of(document, orbit, part=part, rank=rank, engine="analytic/1"))
    shards.close()
    return {
        name: json.dumps({"id": name, "formula": "left out", "structure": one.as_dict()}) + "\n"
        for name, one in made.items()
    }
