"""A crystal in the database, before anything is calculated."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class MaterialDoc(BaseModel):
    """A structure, where it comes from, and what its source says of it."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    material_id: str = Field(min_length=1)
    formula: str = Field(description="Reduced.")
    elements: list[str] = Field(description="Symbols, sorted.")
    n_sites: int = Field(ge=1, description="Atoms in the cell.")
    structure: dict[str, Any] = Field(description="As it was given (pymatgen).")
    structure_hash: str = Field(description="Digest of cell, elements and coordinates.")
    source: str = Field(description="Database, file or paper.")
    licence: str | None = Field(description="None where the source does not say.")
    experimental: bool | None = Field(
        description="Known from experiment; None where the source does not say."
    )
    facts: dict[str, Any] = Field(description="What else the source says, in its words.")
    package_version: str
