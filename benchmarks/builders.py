"""
Features of a file of structures through the database, and what the builder adds to the function.

    python benchmarks/builders.py STRUCTURES.jsonl.gz [--structures 1000] [--workers 1]

The file (or the environment variable VTC_STRUCTURES) holds JSON lines {"id", "structure"}. A
MongoDB of its own (`vtc-flows[db]`, or a mongod on the PATH) is started in a temporary folder. The
rival is the bare function `features_by_element` on structures in memory; maggma's `MapBuilder`
would add its own overhead and build everything again at each run.
"""

from __future__ import annotations

import argparse
import os
import resource
import tempfile
import time
import warnings
from collections import Counter

from pymatgen.core.structure import Structure

from vtc_flows.builders import FeatureBuilder
from vtc_flows.builders.running import build
from vtc_flows.crystal.features import features_by_element
from vtc_flows.crystal.sources import load_structures
from vtc_flows.errors import VtcFlowsError
from vtc_flows.schemas import MaterialDoc
from vtc_flows.settings import load_settings
from vtc_flows.stores.collections import prepare
from vtc_flows.stores.connection import MongoDatabase, close_databases, open_database
from vtc_flows.stores.local_server import start_server, stop_server
from vtc_flows.stores.materials import save_materials
from vtc_flows.workflow.materials import material_document

BATCH = 200


def fill(database: MongoDatabase, path: str, count: int) -> int:
    """Put an even choice of a file's structures into the database; return how many."""
    total = sum(1 for _ in load_structures([path]))
    step = max(1, total // count)
    batch: list[MaterialDoc] = []
    n_saved = 0
    for number, record in enumerate(load_structures([path])):
        if number % step or n_saved + len(batch) == count:
            continue
        batch.append(material_document(record))
        if len(batch) == BATCH:
            save_materials(database, batch)
            n_saved += len(batch)
            batch = []
    if batch:
        save_materials(database, batch)
    return n_saved + len(batch)


def bare(database: MongoDatabase, count: int) -> tuple[int, float]:
    """Return how many structures the function alone did, and in how many CPU seconds."""
    found = database.materials.find({}, {"structure": 1}).limit(count)
    structures = [Structure.from_dict(each["structure"]) for each in found]
    begin = time.process_time()
    for structure in structures:
        try:
            features_by_element(structure)
        except VtcFlowsError:
            continue
    return len(structures), time.process_time() - begin


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[1])
    parser.add_argument("structures", nargs="?", default=os.environ.get("VTC_STRUCTURES"))
    parser.add_argument("--structures", dest="count", type=int, default=1000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    if not options.structures:
        parser.error("give a file of JSON lines, or set VTC_STRUCTURES")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder:
        settings = load_settings(data_directory=folder)
        server = start_server(settings)
        os.environ["VTC_DATABASE_URI"] = server.uri
        try:
            run(options.structures, options.count, options.workers)
        finally:
            close_databases()
            stop_server(settings)


def run(path: str, count: int, workers: int) -> None:
    """Time the first build, the next one, and one after one material changed."""
    database = open_database(load_settings())
    prepare(database)
    n_materials = fill(database, path, count)
    before = peak_mb()
    bare(database, 20)  # warm: tables of elements and radii
    seconds = [timed(workers), timed(workers)]
    database.materials.update_one({}, {"$set": {"structure_hash": "changed"}})
    seconds.append(timed(workers))
    states = Counter(each["state"] for each in database.features.find({}, {"state": 1}))
    reasons = Counter(each["reason"] for each in database.features.find({"state": "failed"}))
    n_bare, bare_s = bare(database, 300)
    wall, cpu = seconds[0]
    print(f"materials           {n_materials}, {workers} process(es)")
    print(f"documents           {dict(states)}, failures {dict(reasons) or 'none'}")
    print(
        f"first build         {wall:.1f} s wall, {cpu:.1f} s CPU, {n_materials / wall:.0f} "
        "materials/s"
    )
    print(f"again               {seconds[1][0]:.2f} s wall (nothing written)")
    print(f"one changed         {seconds[2][0]:.2f} s wall")
    if workers == 1:
        print(
            f"ratio               {cpu / n_materials / (bare_s / n_bare):.2f} times the CPU of the "
            "bare function"
        )
    print(f"memory              peak {peak_mb():.0f} MB ({before:.0f} MB before the build)")


def timed(workers: int) -> tuple[float, float]:
    """Build; return wall and CPU seconds, those of child processes with them."""
    begin, cpu = time.perf_counter(), cpu_seconds()
    build(FeatureBuilder(), workers=workers)
    return time.perf_counter() - begin, cpu_seconds() - cpu


def cpu_seconds() -> float:
    """Return the CPU time of this process and of its children that ended."""
    return sum(os.times()[:4])


def peak_mb() -> float:
    """Return the most memory that this process, or one child, ever held."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(kind).ru_maxrss for kind in kinds) / 1e3


if __name__ == "__main__":
    main()
