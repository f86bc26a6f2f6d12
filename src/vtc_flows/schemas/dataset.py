"""A table to learn from: its rows, and what it says of itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vtc_flows.schemas.documents import EngineProvenance
from vtc_flows.schemas.xes import SamsSettings, XesSettings

GroupBy = Literal["formula", "prototype", "material", "record"]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class DatasetRow(_Document):
    """
    One record: what it is of, features, targets, where it belongs.

    The order of fields is the order of the table's columns.
    """

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
    qams: float
    dams: float
    iams: float
    density: float
    n_sg: float
    n_3d: float
    en_mean: float | None
    en_std: float | None
    sams: float
    sams_site: float
    sams_max: float
    sams_crystal: float
    sams_crystal_max: float
    oxidation_method: str
    n_without_electronegativity: int
    frame_freedom: str
    engine: str
    engine_sha256: str = Field(description="Digest of the file that made the potentials.")
    fms_atoms: int
    settings_hash: str
    source: str


#: Columns that a model learns from, in their order, and those that it may learn.
FEATURES = ("qams", "dams", "iams", "density", "n_sg", "n_3d", "en_mean", "en_std")
TARGETS = ("sams", "sams_site", "sams_max", "sams_crystal", "sams_crystal_max")


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
