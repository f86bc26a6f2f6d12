"""What the exponent of the moments does: to one record, and to the rank correlation over many."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ExponentDoc(_Document):
    """Features and SAMS of one record for each exponent, in the collection ``exponents``."""

    record_id: str
    material_id: str
    element: str
    engine: str
    fms_atoms: int
    state: Literal["successful"] = "successful"
    exponents: list[int]
    qams: list[float] = Field(description="e A^(2-p)")
    dams: list[float] = Field(description="e A^(1-p)")
    iams: list[float] = Field(description="A^(2-p)")
    sams: list[float] = Field(description="In the shared frame of each exponent, eV^-1/2.")
    sams_max: float = Field(description="In the best frame, which no exponent decides, eV^-1/2.")


class RankCurve(_Document):
    """Spearman's rank correlation of two quantities for each exponent."""

    rho: list[float | None] = Field(description="None where one of the two does not vary.")
    low: list[float | None] = Field(description="Limits that hold 95 % of resampled data sets.")
    high: list[float | None]


class ExponentCurveDoc(_Document):
    """The scan of exponents over a data set's training part, in ``exponent_curves``."""

    curve_id: str = Field(description="Name of the data set.")
    dataset_id: str = Field(description="Its version.")
    state: Literal["successful"] = "successful"
    exponents: list[int]
    n_rows: int = Field(description="Of the training part; the test part has no say.")
    best_exponent: int | None = Field(
        description="Where the correlation of QAMS with SAMS is highest; None without any."
    )
    as_good: list[int] = Field(
        description="Exponents whose correlation is within the interval of the best one."
    )
    qams_sams: RankCurve
    iams_sams: RankCurve
    dams_sams: RankCurve
    qams_sams_max: RankCurve
    by_element: dict[str, list[float | None]] = Field(description="Of QAMS with SAMS.")
    n_by_element: dict[str, int]
