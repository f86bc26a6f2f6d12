"""
Documents: what a calculation leaves behind. They hold data and no physics.

Energies are absolute on FEFF's scale with the Fermi level beside them; windows count from it.
Tensors are rows of xx, yy, zz, yz, xz, xy in the crystal's Cartesian frame as it was given.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vtc_flows.schemas.xes import SamsSettings, XesSettings

Row3 = tuple[float, float, float]
Matrix3 = tuple[Row3, Row3, Row3]
Tensor6 = tuple[float, float, float, float, float, float]


class _Document(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class Units(_Document):
    """Units of the numbers in a record."""

    energy: Literal["eV"] = "eV"
    length: Literal["Angstrom"] = "Angstrom"
    time: Literal["CPU s"] = "CPU s"
    tensor: Literal["atomic background of the site at its Fermi level"] = (
        "atomic background of the site at its Fermi level"
    )
    sam: Literal["eV^-1/2"] = "eV^-1/2"
    qams: Literal["e Angstrom^(2-p)"] = "e Angstrom^(2-p)"
    dams: Literal["e Angstrom^(1-p)"] = "e Angstrom^(1-p)"
    iams: Literal["Angstrom^(2-p)"] = "Angstrom^(2-p)"
    density: Literal["g/cm^3"] = "g/cm^3"
    n_3d: Literal["electrons"] = "electrons"
    electronegativity: Literal["Pauling"] = "Pauling"


class EngineProvenance(_Document):
    """The program that made a spectrum."""

    name: str
    route: str = Field(description="How it was used: library or executables.")
    version: str
    sha256: str = Field(description="Digest of the file that made the potentials.")
    revision: int = Field(
        default=1,
        ge=1,
        description="Of the steering and the physics of this package; 1 in documents without it.",
    )


class Provenance(_Document):
    """Where a document comes from."""

    package_version: str
    engine: EngineProvenance | None = Field(description="None where no site gave a spectrum.")
    settings_hash: str = Field(description="Digest of all settings that decide the numbers.")
    created_at: str = Field(description="UTC, ISO 8601, milliseconds.")
    source: str = Field(description="Where the structure was read from.")
    structure: dict[str, Any] = Field(description="The structure as used (pymatgen).")


class AttemptDoc(_Document):
    """One try at a site that gave no usable spectrum."""

    step: str = Field(description="The step of the recovery, none for the first try.")
    reason: str = Field(description="Short code, as scf_not_converged, timeout, crash.")
    message: str


class SeparationDoc(_Document):
    """What the potentials took for valence; the absorber first in each list."""

    core_valence_ev: float = Field(description="Separation of core and valence, absolute: E_cv.")
    moves_ev: list[float] = Field(
        default=[], description="What it was before each move that followed impossible occupations."
    )
    shells: list[list[str]] = Field(description="Valence shells of each potential, as 3p.")
    occupations_e: list[list[float]] = Field(
        description="Electrons of each potential by angular momentum (s, p, d ...), at the end."
    )


class LevelDoc(_Document):
    """A deep level of an atom other than the absorber."""

    label: str
    letter: str
    energy_ev: float = Field(description="Absolute.")
    same_element: bool = Field(description="Whether it is an atom of the absorber's element.")


class ValenceBottomDoc(_Document):
    """Where the states that emit begin."""

    energy_ev: float = Field(description="Absolute: E_sep.")
    method: Literal["depth", "3p", "given"] = Field(
        description="At the depth of the settings, above the absorber's own 3p level, or given."
    )
    level_3p_ev: float | None = Field(
        description="The absorber's 3p level, absolute; none where it lies too deep to matter."
    )
    levels: list[LevelDoc] = Field(
        default=[], description="Deep levels of the other atoms, where the engine tells of them."
    )


class SecondStartDoc(_Document):
    """Another start of a self-consistency that did not go straight to its solution."""

    e_fermi_ev: float | None = Field(
        description="Within 0.3 eV of the first; None where it gave no solution."
    )
    reason: str | None = Field(description="Why it gave none.")


class ScfDoc(_Document):
    """What the self-consistency of the potentials did."""

    n_iterations: int
    recovery: str = Field(description="The step of the recovery that gave the spectrum, or none.")
    fermi_history_ev: list[float]
    attempts: list[AttemptDoc] = Field(
        default=[], description="The tries before it, which failed; of the whole calculation."
    )
    charges_e: list[float] = Field(
        default=[], description="Electrons that each kind of atom lost, the absorber first."
    )
    separation: SeparationDoc | None = Field(
        default=None, description="None where the engine does not tell, or before version 0.2."
    )
    restarts: int = Field(
        default=0, description="How often impossible occupations started the iterations anew."
    )
    mixing: float = Field(
        default=0.0, description="Share of the new density at the end; 0 where it is not known."
    )
    second_start: SecondStartDoc | None = Field(
        default=None, description="None where the first start went straight to its solution."
    )


class SpectrumDoc(_Document):
    """The spectrum of one site with one cluster size."""

    spectrum_id: str
    material_id: str
    element: str
    site_index: int
    frac_coords: Row3
    multiplicity: int = Field(description="Sites in the cell that symmetry makes equivalent.")
    fms_atoms: int = Field(description="Neighbours asked for in the multiple scattering.")
    n_fms_atoms: int = Field(description="Atoms in it, shells complete, absorber among them.")
    fms_radius_angstrom: float
    n_listed_atoms: int
    e_fermi_ev: float
    valence_bottom: ValenceBottomDoc | None = Field(
        default=None, description="Where the states that emit begin; none where all occupied do."
    )
    converged: Literal[True]
    scf: ScfDoc
    energy_ev: list[float]
    tensor: list[Tensor6]
    background: list[float]
    edge_cross_section_angstrom2: float = Field(
        description="Multiply the tensor by it to bring sites to one scale."
    )
    photon_edge_ev: float | None = Field(
        default=None,
        description="Photon energy of emission from the Fermi level, on FEFF's scale.",
    )
    timings: dict[str, float]
    checks: dict[str, float] = Field(
        default={}, description="Figures by which the engine's output was found good."
    )
    engine_input: str = Field(
        default="", description="What the engine was given: feff.inp, or the site as JSON."
    )
    settings: XesSettings
    remarks: list[str] = Field(default=[], description="What a reader has to know of it.")
    provenance: Provenance

    @model_validator(mode="after")
    def _lengths_match(self) -> SpectrumDoc:
        _require_lengths(self.energy_ev, self.tensor, self.background)
        return self


class FailedSite(_Document):
    """
    A site without a spectrum, why, and all that is needed to see it fail again.

    The structure is in `provenance`. Documents of version 0.1 have the first six fields only.
    """

    site_index: int
    frac_coords: Row3
    multiplicity: int
    reason: str = Field(description="Short code, as scf_not_converged, timeout, crash.")
    message: str
    log_tail: str
    attempts: list[AttemptDoc] = Field(default=[], description="All tries, the last one too.")
    engine_input: str = Field(
        default="", description="What the engine was given in the last try; see SpectrumDoc."
    )
    run_dir: str | None = Field(default=None, description="Where the run's files were kept.")
    settings: XesSettings | None = Field(default=None, description="With all sizes of the run.")
    provenance: Provenance | None = None


class SiteXesDoc(_Document):
    """What one site's calculation gave: a spectrum for each cluster size, or a failure."""

    material_id: str
    element: str
    site_index: int
    engine: str
    state: Literal["successful", "failed"]
    spectra: list[SpectrumDoc]
    failure: FailedSite | None

    @model_validator(mode="after")
    def _state_tells(self) -> SiteXesDoc:
        if (self.state == "failed") != (self.failure is not None and not self.spectra):
            raise ValueError("a failed site has a failure and no spectra, another has spectra")
        return self


class RecordSite(_Document):
    """One orbit of equivalent sites in a record, by its representative."""

    site_index: int
    equivalent_indices: list[int]
    frac_coords: Row3
    multiplicity: int
    n_fms_atoms: int
    fms_radius_angstrom: float
    e_fermi_ev: float
    valence_bottom: ValenceBottomDoc | None = Field(
        default=None, description="Where the states that emit begin; none where all occupied do."
    )
    converged: Literal[True]
    scf: ScfDoc
    energy_ev: list[float]
    tensor: list[Tensor6]
    background: list[float]
    edge_cross_section_angstrom2: float
    sam: Matrix3 = Field(description="In the record's shared frame.")
    sams: float
    own_frame: Matrix3 = Field(description="The site's own quadrupole frame; columns are axes.")
    sams_own_frame: float
    symmetry_residual: float = Field(
        description="Largest change of the computed tensor under the site's point group, relative; "
        "below 1e-3 the tensor given here is the mean over the group."
    )
    smallest_eigenvalue: float = Field(
        description="Of the tensor over all energies; a negative one is noise."
    )
    timings: dict[str, float]
    checks: dict[str, float] = Field(default={}, description="See SpectrumDoc.")
    remarks: list[str] = Field(default=[], description="See SpectrumDoc.")
    engine_input: str = Field(default="", description="See SpectrumDoc.")


def flat_features(features: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return features as documents hold them without the level of the surroundings.

    Examples
    --------
    >>> flat_features({"density": 4.2, "surroundings": {"q4": 0.76}})
    {'density': 4.2, 'q4': 0.76}
    """
    own = {name: value for name, value in features.items() if name != "surroundings"}
    return own | (features.get("surroundings") or {})


class StructureNumbers(_Document):
    """The features of the paper, then those without charges and frames."""

    qams: float
    dams: float
    iams: float
    density: float
    n_sg: float
    n_3d: float
    en_mean: float | None
    en_std: float | None
    in4: float | None = Field(
        default=None,
        description="This and what follows it are None in documents of versions without them.",
    )
    in8: float | None = None
    in12: float | None = None
    in16: float | None = None
    ic4: float | None = None
    ic8: float | None = None
    ic12: float | None = None
    ic16: float | None = None
    atomic_number: float | None = None
    atomic_fraction: float | None = None
    n_elements: float | None = None
    volume_per_atom: float | None = None
    tensor_freedom: float | None = None
    crystal_freedom: float | None = None


class Features(StructureNumbers):
    """Numbers from the structure alone."""

    surroundings: dict[str, float] | None = Field(
        default=None, description="By the names of `crystal.surroundings.SURROUNDINGS`."
    )
    oxidation_method: str
    n_without_electronegativity: int

    def numbers(self) -> dict[str, Any]:
        """Return all features by name, those of the surroundings among them."""
        return flat_features(self.model_dump())


class SamsRecord(_Document):
    """Spectra, anisotropy and features of one absorbing element in one material."""

    record_id: str
    material_id: str
    element: str
    engine: str
    fms_atoms: int
    state: Literal["complete", "incomplete"]
    settings: XesSettings
    sams_settings: SamsSettings
    units: Units
    frame: Matrix3 = Field(description="Shared frame; columns are the axes.")
    frame_freedom: Literal["none", "axis", "all"] = Field(
        description="What symmetry leaves free in the frame; used to make sams largest."
    )
    window_ev: tuple[float, float] = Field(
        description="Of SAMS, relative to the Fermi level: that of the settings, cut where the "
        "states of a site that emit begin."
    )
    sams: float | None = Field(description="Mean over all sites in the shared frame.")
    sams_site: float | None = Field(description="Mean over all sites, each in its own frame.")
    sams_max: float | None = Field(description="Largest mean over sites in any common frame.")
    sams_max_frame: Matrix3 | None
    sams_crystal: float | None = Field(description="Of the crystal's summed tensor, shared frame.")
    sams_crystal_max: float | None
    sams_crystal_max_frame: Matrix3 | None
    anisotropy: float | None = Field(
        default=None,
        description="Frame-free anisotropy A, mean over all sites. This and the next three are "
        "None in documents of versions without them.",
    )
    anisotropy_max: float | None = Field(default=None, description="Of the site with the largest.")
    anisotropy_2ev: float | None = Field(
        default=None, description="A after a Gaussian broadening by 2 eV (FWHM)."
    )
    anisotropy_max_2ev: float | None = None
    sites: list[RecordSite]
    failures: list[FailedSite]
    features: Features
    provenance: Provenance

    @model_validator(mode="after")
    def _incomplete_has_no_sams(self) -> SamsRecord:
        values = (self.sams, self.sams_site, self.sams_max, self.sams_crystal)
        missing = [value is None for value in (*values, self.sams_crystal_max)]
        incomplete = bool(self.failures)
        if incomplete != (self.state == "incomplete") or any(m != incomplete for m in missing):
            raise ValueError("SAMS stands in a record if and only if all its sites have spectra")
        return self


class RecordsDoc(_Document):
    """The records of one element in one material, one for each cluster size."""

    records: list[SamsRecord]


class FeatureRecord(_Document):
    """Features of one absorbing element in one material, without spectra."""

    material_id: str
    element: str
    units: Units
    features: Features
    frame: Matrix3
    frame_freedom: Literal["none", "axis", "all"]
    moment_exponent: int
    moment_cutoff_angstrom: float
    package_version: str
    source: str


def utc_now() -> str:
    """Return the time as documents hold it: UTC, ISO 8601, milliseconds as databases keep."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _require_lengths(energy: list[float], tensor: list[Tensor6], background: list[float]) -> None:
    if not len(energy) == len(tensor) == len(background):
        raise ValueError(
            f"{len(energy)} energies, {len(tensor)} tensors and {len(background)} backgrounds"
        )
