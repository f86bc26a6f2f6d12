"""The flow from a crystal to its records, with two cluster sizes from one self-consistency."""

from __future__ import annotations

from pathlib import Path

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore
from pymatgen.core import Structure

from vtc_flows.schemas import XesSettings
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import SiteXesMaker

structure = Structure.from_file(Path(__file__).with_name("rutile.cif"))
maker = PolarizedXesFlowMaker(site_maker=SiteXesMaker(settings=XesSettings(fms_atoms=(30, 80))))
flow = maker.make(structure, "Ti", "rutile")
store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
responses = run_locally(flow, store=store, log=False, ensure_success=True)
for record in responses[flow.jobs[-1].uuid][1].output.records:
    print(f"{record.fms_atoms} neighbours: SAMS {record.sams:.3f}, at most {record.sams_max:.3f}")
