"""Builders that are killed go on where they stopped, and what comes out is what it would be."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from builder_drill import nothing_written

from vtc_flows import builders
from vtc_flows.builders.running import build
from vtc_flows.stores.records import references

PROGRAM = Path(__file__).parents[1] / "support" / "killed_builder.py"
#: Written when the process ends, and groups in all.
KILLED_AT = {
    "FeatureBuilder": (3, 5),
    "SiteSpectraBuilder": (4, 12),
    "SamsBuilder": (4, 10),
    "DatasetBuilder": (2, 2),
    "ExponentBuilder": (4, 10),
    "ExponentCurveBuilder": (2, 2),
}


@pytest.mark.parametrize("name", KILLED_AT)
def test_a_killed_builder_goes_on(derived_before, name):
    campaign = derived_before(name)
    kind = getattr(builders, name)
    call, n_groups = KILLED_AT[name]
    done = subprocess.run(
        [sys.executable, "-W", "ignore", str(PROGRAM), name, str(call)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    target = kind().target.collection_name
    stamps = {d["build"]["group"]: d["last_updated"] for d in campaign[target].find()}
    assert len(stamps) == call - 1

    report = build(kind())
    assert (report.n_current, report.n_derived) == (call - 1, n_groups - (call - 1))
    later = {d["build"]["group"]: d["last_updated"] for d in campaign[target].find()}
    assert stamps.items() <= later.items()
    assert not report.failures
    with nothing_written(campaign):
        build(kind())
    if name == "SamsBuilder":  # arrays of the record that was never written are gone
        documents = [*campaign.jobs.find(), *campaign.sams.find()]
        names = campaign["data.files"].distinct("metadata.blob_uuid")
        assert set(references(documents)) == set(names)


def test_half_a_group_is_no_group(campaign):
    build(builders.FeatureBuilder())
    structure = campaign.materials.find_one({"material_id": "rutile_TiO2"})["structure"]
    structure["sites"][0]["species"] = [{"element": "V", "occu": 1}]
    campaign.materials.update_one(
        {"material_id": "rutile_TiO2"}, {"$set": {"structure": structure, "structure_hash": "new"}}
    )
    build(builders.FeatureBuilder())
    # as if the process had ended between the two documents of the group
    campaign.features.delete_one({"material_id": "rutile_TiO2", "element": "V"})
    report = build(builders.FeatureBuilder())
    assert (report.n_derived, report.n_written, report.n_unchanged) == (1, 1, 1)
