"""Features of a crystal, and the frame in which its anisotropy is measured."""

from __future__ import annotations

from pathlib import Path

from pymatgen.core import Structure

from vtc_flows.crystal.features import structure_features

structure = Structure.from_file(Path(__file__).with_name("rutile.cif"))
features = structure_features(structure, "Ti")
for name, value in features.values().items():
    print(f"{name:8} {value:10.4f}")
print("axes (columns), settled by", " and ".join(features.frame.resolved_by))
print(features.frame.axes.round(3))
