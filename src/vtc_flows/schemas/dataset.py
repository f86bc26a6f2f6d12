"""A table to learn from: its rows, and what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vtc_flows.schemas.documents import EngineProvenance, StructureNumbers
from vtc_flows.schemas.xes import SamsSettings, XesSettings

GroupBy = Literal["formula", "prototype", "material", "record"]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class _Names(_Document):
    """What a row is of, and where it belongs."""

    record_id: str
    material_id: str
    element: str
    formula: str = Field(description="Reduced.")
    prototype: str = Field(description="Anonymous formula and space group number, as AB2-136.")
    space_group_number: int
    structure_hash: str
    n_sites: int = Field(description="Of the element in the cell.")
    n_orbits: int = Field(description="Of equivalent sites of the element.")
    split: Literal["train", "test"]
    split_group: str = Field(description="Rows of one stay on one side of the split.")


class SurroundingsNumbers(_Document):
    """Features of the surroundings, which `crystal.surroundings.SURROUNDINGS` explains."""

    xn6: float | None = None
    xn12: float | None = None
    xn18: float | None = None
    xb6: float | None = None
    xb12: float | None = None
    xb18: float | None = None
    ib8: float | None = None
    ib14: float | None = None
    en_in4: float | None = None
    en_in8: float | None = None
    en_in12: float | None = None
    z_in4: float | None = None
    z_in8: float | None = None
    z_in12: float | None = None
    metal_xn6: float | None = None
    shell_n: float | None = None
    shell_count: float | None = None
    nearest_angstrom: float | None = None
    nearest_x: float | None = None
    shell_angstrom: float | None = None
    shell_en: float | None = None
    shell_en_std: float | None = None
    shell_z: float | None = None
    shell_group: float | None = None
    metal_share: float | None = None
    hydrogen_share: float | None = None
    q1: float | None = None
    q3: float | None = None
    q4: float | None = None
    q6: float | None = None


class _Labels(_Document):
    """Targets, and what they were made with."""

    sams: float
    sams_site: float
    sams_max: float
    sams_crystal: float
    sams_crystal_max: float
    anisotropy: float | None = None
    anisotropy_max: float | None = None
    anisotropy_2ev: float | None = None
    anisotropy_max_2ev: float | None = None
    oxidation_method: str
    n_without_electronegativity: int
    frame_freedom: str
    engine: str
    engine_sha256: str = Field(description="Digest of the file that made the potentials.")
    fms_atoms: int
    settings_hash: str
    source: str


class DatasetRow(_Labels, SurroundingsNumbers, StructureNumbers, _Names):
    """
    One record: what it is of, features, targets, what made them.

    The order of fields, that of the bases from the last to the first, is that of the columns.
    """


#: Columns that models learn from, in their order. "paper": those of the VtC-XES anisotropy paper.
PAPER_FEATURES = ("qams", "dams", "iams", "density", "n_sg", "n_3d", "en_mean", "en_std")
#: "v2": without the moments, which need charges and a frame; see `crystal.features` and
#: `crystal.surroundings`.
V2_FEATURES = (
    *(name for name in StructureNumbers.model_fields if name not in PAPER_FEATURES),
    *("density", "n_sg", "n_3d", "en_mean", "en_std"),
    *SurroundingsNumbers.model_fields,
)

ModelKind = Literal["paper", "v2"]
FEATURES_OF: Mapping[ModelKind, tuple[str, ...]] = MappingProxyType(
    {"paper": PAPER_FEATURES, "v2": V2_FEATURES}
)
ALL_FEATURES = (*PAPER_FEATURES, *(name for name in V2_FEATURES if name not in PAPER_FEATURES))

#: Kinds of SAMS, and of the frame-free anisotropy: what a model may learn.
SAMS_KINDS = ("sams", "sams_site", "sams_max", "sams_crystal", "sams_crystal_max")
ANISOTROPIES = ("anisotropy", "anisotropy_max", "anisotropy_2ev", "anisotropy_max_2ev")
TARGETS = (*SAMS_KINDS, *ANISOTROPIES)

#: Each target in words.
TARGET_WORDS: Mapping[str, str] = MappingProxyType(
    {
        "sams": "SAMS in the shared frame",
        "sams_site": "SAMS, each site in its own frame",
        "sams_max": "largest SAMS in any frame",
        "sams_crystal": "SAMS of the crystal's sum",
        "sams_crystal_max": "largest SAMS of the crystal's sum in any frame",
        "anisotropy": "frame-free anisotropy A",
        "anisotropy_max": "frame-free anisotropy A of the site where it is largest",
        "anisotropy_2ev": "frame-free anisotropy A at 2 eV resolution",
        "anisotropy_max_2ev": "frame-free anisotropy A at 2 eV of the site where it is largest",
    }
)

#: The feature that is zero where symmetry makes a target zero.
FREEDOM_OF: Mapping[str, str] = MappingProxyType(
    {
        name: "crystal_freedom" if name.startswith("sams_crystal") else "tensor_freedom"
        for name in TARGETS
    }
)


class SplitSettings(_Document):
    """How rows are split."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, frozen=True)

    group_by: GroupBy = Field(
        default="formula",
        description="What makes rows near-duplicates; by record is the plain split.",
    )
    test_fraction: float = Field(default=0.2, gt=0, lt=1)
    seed: int = 0


class PartCounts(_Document):
    """Rows in both parts."""

    train: int
    test: int


class TableFile(_Document):
    """The table as a file in the database."""

    file_name: str
    n_bytes: int
    sha256: str


class DatasetDoc(_Document):
    """A version of a table, in the collection ``datasets``."""

    dataset_id: str = Field(description="The name with the beginning of the rows' digest.")
    name: str = Field(description="Engine, size and settings, which are never mixed; the split.")
    current: bool = Field(description="False for what a later version replaced.")
    state: Literal["successful"] = "successful"
    engine: str
    engine_files: dict[str, int] = Field(description="Rows by the digest of the engine's file.")
    engines: list[EngineProvenance]
    fms_atoms: int
    settings: XesSettings
    sams_settings: SamsSettings
    settings_hash: str
    split: SplitSettings
    n_rows: int
    parts: PartCounts
    by_element: dict[str, PartCounts]
    left_out: dict[str, int] = Field(description="Records that are no rows, by reason.")
    columns: dict[str, str] = Field(description="Unit of each; empty where it has none.")
    table: TableFile
    package_version: str
    created_at: str

    def card(self) -> dict[str, Any]:
        """Return what a file of the table says of itself: equal for equal tables."""
        changing = {"table", "current", "state", "left_out", "package_version", "created_at"}
        return self.model_dump(mode="json", exclude=changing)
