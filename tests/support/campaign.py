"""A small campaign for the tests of builders: materials, and their sites by the analytic engine."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from jobflow import run_locally
from pymatgen.core.structure import Structure

from vtc_flows.crystal.sources import StructureRecord
from vtc_flows.schemas import MaterialDoc, SamsSettings, XesSettings
from vtc_flows.stores.collections import prepare
from vtc_flows.stores.jobs import job_store
from vtc_flows.stores.materials import save_materials
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker
from vtc_flows.workflow.materials import material_document

FILES = Path(__file__).parents[1] / "data" / "structures"

#: Small crystals of all kinds: cubic, uniaxial, monoclinic, triclinic with two orbits.
STRUCTURES = {
    "NiO": "Ni",
    "rutile_TiO2": "Ti",
    "corundum_Cr2O3": "Cr",
    "tenorite_CuO": "Cu",
    "triclinic_Fe2P2O7": "Fe",
}

#: A short grid: these tests look at documents, not at spectra.
SETTINGS = XesSettings(fms_atoms=(20, 30), energy_step_ev=0.5)
SIZES = SETTINGS.fms_atoms


def read(name: str) -> Structure:
    return Structure.from_file(FILES / f"{name}.cif", primitive=False)


def material(name: str, structure: Structure | None = None) -> MaterialDoc:
    """Return a structure, a test structure of the name if none is given, as the database has it."""
    found = structure if structure is not None else read(name)
    formula = found.composition.reduced_formula
    return material_document(StructureRecord(name, found, f"{name}.cif", formula))


def compute(database: Any, name: str, structure: Structure, element: str, **given: Any) -> list:
    """Run a flow whose jobs go to the database; return its records."""
    maker = PolarizedXesFlowMaker(
        site_maker=SiteXesMaker(engine="analytic_engine:make", settings=SETTINGS),
        sams_settings=SamsSettings(**given),
    )
    flow = maker.make(structure, element, name, source=f"{name}.cif")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # jobflow's own
        responses = run_locally(flow, store=job_store(database), log=False, raise_immediately=True)
    return responses[flow.jobs[-1].uuid][1].output.records


def seed(database: Any) -> None:
    """Fill a database with the campaign."""
    prepare(database)
    save_materials(database, [material(name) for name in STRUCTURES])
    for name, element in STRUCTURES.items():
        compute(database, name, read(name), element)
