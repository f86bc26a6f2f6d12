"""Documents, settings that decide numbers, and ids: what is stored and what is printed."""

from __future__ import annotations

from vtc_flows.schemas.crystals import KnownCrystal, require_same_crystal, same_crystal
from vtc_flows.schemas.documents import (
    AttemptDoc,
    EngineProvenance,
    FailedSite,
    FeatureRecord,
    Features,
    LevelDoc,
    Matrix3,
    Provenance,
    RecordsDoc,
    RecordSite,
    SamsRecord,
    ScfDoc,
    SecondStartDoc,
    SeparationDoc,
    SiteXesDoc,
    SpectrumDoc,
    Units,
    ValenceBottomDoc,
    flat_features,
    utc_now,
)
from vtc_flows.schemas.ids import RecordId, SpectrumId, short_hash
from vtc_flows.schemas.materials import MaterialDoc
from vtc_flows.schemas.xes import Preset, SamsSettings, XesSettings, settings_hash

__all__ = [
    "AttemptDoc",
    "EngineProvenance",
    "FailedSite",
    "FeatureRecord",
    "Features",
    "KnownCrystal",
    "LevelDoc",
    "MaterialDoc",
    "Matrix3",
    "Preset",
    "Provenance",
    "RecordId",
    "RecordSite",
    "RecordsDoc",
    "SamsRecord",
    "SamsSettings",
    "ScfDoc",
    "SecondStartDoc",
    "SeparationDoc",
    "SiteXesDoc",
    "SpectrumDoc",
    "SpectrumId",
    "Units",
    "ValenceBottomDoc",
    "XesSettings",
    "flat_features",
    "require_same_crystal",
    "same_crystal",
    "settings_hash",
    "short_hash",
    "utc_now",
]
