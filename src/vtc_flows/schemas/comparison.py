"""
Documents of a comparison: two engines, or two settings, on the same sites.

A is what B is held against: relative numbers are relative to A, ratios are B / A, differences are
B - A.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vtc_flows.schemas.documents import EngineProvenance
from vtc_flows.schemas.xes import SamsSettings, XesSettings


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class ComparisonUnits(_Document):
    """Units of the numbers in a comparison."""

    energy: Literal["eV"] = "eV"
    time: Literal["CPU s"] = "CPU s"
    sams: Literal["eV^-1/2"] = "eV^-1/2"
    difference: Literal["B - A"] = "B - A"
    relative_difference: Literal["(B - A) / A"] = "(B - A) / A"
    ratio: Literal["B / A"] = "B / A"
    largest_deviation: Literal["largest mu of A in that polarization"] = (
        "largest mu of A in that polarization"
    )
    relative_l2: Literal["L2 norm of mu of A in that polarization"] = (
        "L2 norm of mu of A in that polarization"
    )
    anisotropic_deviation: Literal["L2 norm of the traceless tensor of A"] = (
        "L2 norm of the traceless tensor of A"
    )


class NumberPair(_Document):
    """A number of both; None where one has none."""

    a: float | None
    b: float | None


class CountPair(_Document):
    """A whole number of both."""

    a: int
    b: int


class TextPair(_Document):
    """A text of both."""

    a: str
    b: str


class ByPolarization(_Document):
    """A figure for each polarization: xy means along (1, 1, 0)/sqrt(2), so for xz, yz."""

    x: float
    y: float
    z: float
    xy: float
    xz: float
    yz: float


class SiteFigures(_Document):
    """How the spectra of one site compare, energies counted from the Fermi level of each."""

    e_fermi_ev: NumberPair
    fermi_shift_ev: float
    range_ev: tuple[float, float] = Field(
        description="Energies that both cover, relative to the Fermi level; what follows is over "
        "them, but for SAMS, which has its window."
    )
    interpolated: bool = Field(
        description="True where the grids differ, so that straight lines between their points are "
        "compared."
    )
    largest_deviation: ByPolarization
    worst_deviation: float
    relative_l2: ByPolarization
    worst_relative_l2: float
    anisotropic_deviation: float | None = Field(description="None where A has no anisotropy.")
    anisotropic_correlation: float | None = Field(
        description="1 where the anisotropic parts differ by a factor at most; None where one has "
        "no anisotropy."
    )
    area_ratio: float = Field(description="Of the isotropic spectra.")
    edge_cross_section_ratio: float
    sams: NumberPair = Field(description="Each in the shared frame of its record.")
    sams_relative_difference: float | None
    cpu_s: NumberPair = Field(description="Of the whole site, for all cluster sizes of its run.")
    cpu_ratio: float | None
    scf_iterations: CountPair
    scf_recovery: TextPair


class SiteComparison(_Document):
    """One orbit of equivalent sites, by its representative."""

    site_index: int
    multiplicity: int
    state: Literal["compared", "failed"]
    failure: str = Field(description="In which of the two the site failed, and why; else empty.")
    figures: SiteFigures | None

    @model_validator(mode="after")
    def _state_tells(self) -> SiteComparison:
        failed = self.state == "failed"
        if failed != (self.figures is None) or failed != bool(self.failure):
            raise ValueError("a failed site has a failure and no figures, another has figures")
        return self


class ComparedRecord(_Document):
    """Which record was compared, and what made it."""

    record_id: str
    fms_atoms: int
    engine: str
    engine_provenance: EngineProvenance | None = Field(
        description="None where no site gave a spectrum."
    )
    package_version: str
    created_at: str
    settings: XesSettings
    sams_settings: SamsSettings
    settings_hash: str


class RecordComparison(_Document):
    """Two records of one absorbing element in one material."""

    material_id: str
    element: str
    state: Literal["complete", "incomplete"]
    units: ComparisonUnits
    a: ComparedRecord
    b: ComparedRecord
    window_ev: tuple[float, float] = Field(description="Of SAMS, relative to the Fermi level.")
    fwhm_ev: float
    sams: NumberPair = Field(description="None in an incomplete record, so are the other two.")
    sams_relative_difference: float | None
    sams_site: NumberPair
    sams_site_relative_difference: float | None
    sams_max: NumberPair
    sams_max_relative_difference: float | None
    sites: list[SiteComparison]
    package_version: str
    created_at: str
    source: str = Field(description="Where the structure was read from.")
    structure: dict[str, Any] | None = Field(
        default=None, description="As used (pymatgen); None in documents of version 0.1.0."
    )

    @model_validator(mode="after")
    def _failed_site_makes_it_incomplete(self) -> RecordComparison:
        failed = any(site.state == "failed" for site in self.sites)
        if failed != (self.state == "incomplete"):
            raise ValueError("a comparison is incomplete if and only if a site of it failed")
        return self


class ComparisonsDoc(_Document):
    """All comparisons of a folder."""

    comparisons: list[RecordComparison]
