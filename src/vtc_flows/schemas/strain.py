"""A strain study: what stretching a crystal does to its anisotropy."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from vtc_flows.schemas.documents import Provenance, Row3, Units
from vtc_flows.schemas.xes import SamsSettings, XesSettings

Side = Literal["compressed", "stretched"]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class StrainPoint(_Document):
    """The crystal at one strain."""

    strain: float = Field(description="Relative elongation; negative where it is compressed.")
    record_id: str
    state: Literal["complete", "incomplete"]
    reason: str = Field(description="Why it is incomplete; empty otherwise.")
    n_fms_atoms: list[int] = Field(
        description="Atoms in the multiple scattering, of each kind of site."
    )
    qams: float
    dams: float
    iams: float
    sams: float | None
    sams_site: float | None
    sams_max: float | None
    sams_crystal: float | None
    sams_crystal_max: float | None


class StrainLine(_Document):
    """The straight line through the points of one side, that without strain included."""

    side: Side
    of: str = Field(description="What is on the line: qams or sams.")
    over: str = Field(description="Of what it is a function: strain or qams.")
    n: int
    slope: float
    intercept: float
    r2: float | None = Field(description="None where nothing varies.")


class StrainStudyDoc(_Document):
    """Records of one crystal under uniaxial strain, in the collection ``strain_studies``."""

    study_id: str
    material_id: str
    formula: str = Field(description="Reduced.")
    element: str
    engine: str
    axis: Literal["a", "b", "c"] = Field(description="Of the conventional cell.")
    direction: Row3 = Field(description="Of that axis, Cartesian.")
    fms_atoms: int = Field(description="Neighbours that were asked for.")
    n_neighbors: int = Field(
        description="Neighbours in the multiple scattering: the whole shells that the crystal has "
        "without strain, so that the same atoms scatter at every strain."
    )
    settings: XesSettings
    sams_settings: SamsSettings
    units: Units
    points: list[StrainPoint] = Field(description="By rising strain.")
    lines: list[StrainLine]
    provenance: Provenance = Field(description="With the structure without strain.")
