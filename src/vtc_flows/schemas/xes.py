"""What decides the numbers: settings of the calculation and of its evaluation."""

from __future__ import annotations

import hashlib
import json
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

Preset = Literal["seed", "converged"]

#: FMS sizes of the presets: the source paper's, and one whose spectra hardly change any more.
_PRESET_FMS_ATOMS: dict[Preset, tuple[int, ...]] = {"seed": (30,), "converged": (80,)}


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class XesSettings(_Frozen):
    """
    How a spectrum is calculated.

    Examples
    --------
    >>> XesSettings.preset("converged").fms_atoms
    (80,)
    """

    n_scf_atoms: int = Field(
        default=30, ge=1, le=99, description="Neighbours in the self-consistent potentials."
    )
    fms_atoms: tuple[int, ...] = Field(
        default=(30,),
        min_length=1,
        description="Neighbours in the full multiple scattering; one spectrum for each size. The "
        "last shell is completed.",
    )
    listed_radius_angstrom: float = Field(
        default=9.0, gt=0, description="How far atoms are listed for the overlapped potentials."
    )
    energy_below_ev: float = Field(default=30.0, gt=0, description="Grid below the Fermi level.")
    energy_above_ev: float = Field(default=5.0, ge=0, description="Grid above the Fermi level.")
    energy_step_ev: float = Field(default=0.1, gt=0, description="Step of the grid.")
    valence_only: bool = Field(
        default=True,
        description="Whether only states above the absorber's own 3p level emit, and what FEFF "
        "leaves unsmooth is mended; otherwise all occupied states do, as FEFF has them.",
    )
    valence_depth_ev: float = Field(
        default=30.0,
        gt=0,
        description="Where the states that emit begin at the lowest, below the Fermi level.",
    )
    valence_bottom_ev: float | None = Field(
        default=None,
        lt=0,
        description="Where they begin, relative to the Fermi level; found from the potentials if "
        "not given.",
    )
    core_hole: Literal["fsr", "none"] = Field(
        default="fsr", description="1s hole kept (final-state rule) or ignored."
    )
    scf_max_iterations: int = Field(
        default=60, ge=1, description="Most iterations for the potentials (FEFF's nscmt)."
    )
    scf_mixing: float = Field(
        default=0.1, gt=0, le=1, description="Share of the new density (FEFF's ca)."
    )
    scf_plain_iterations: int = Field(
        default=4,
        ge=1,
        description="Iterations with plain mixing before Broyden's method, whose first steps can "
        "overshoot into a false solution (FEFF's nmix).",
    )

    @field_validator("fms_atoms")
    @classmethod
    def _sizes_once_ascending(cls, sizes: tuple[int, ...]) -> tuple[int, ...]:
        if min(sizes) < 1:
            raise ValueError("a cluster needs at least one neighbour")
        return tuple(sorted(set(sizes)))

    @model_validator(mode="after")
    def _bottom_belongs_to_valence(self) -> XesSettings:
        if self.valence_bottom_ev is not None and not self.valence_only:
            raise ValueError("valence_bottom_ev has no meaning without valence_only")
        return self

    @classmethod
    def preset(cls, name: Preset, **changes: Any) -> XesSettings:
        """
        Return the settings of a preset.

        Parameters
        ----------
        name : {"seed", "converged"}
            The source paper's 30 neighbours in the multiple scattering, or 80. Both have 30 in
            the self-consistent potentials.
        **changes
            Fields that differ from the preset.
        """
        return cls(**{"fms_atoms": _PRESET_FMS_ATOMS[name], **changes})

    def for_size(self, fms_atoms: int) -> XesSettings:
        """Return the settings of the spectrum of one FMS size."""
        return self.model_copy(update={"fms_atoms": (fms_atoms,)})

    @property
    def n_neighbors(self) -> int:
        """Size of the largest scattering cluster."""
        return max(self.n_scf_atoms, *self.fms_atoms)


class SamsSettings(_Frozen):
    """How SAMS and the features are made from spectra and structure."""

    window_ev: tuple[float, float] = Field(
        default=(-30.0, 5.0), description="Integration limits relative to the Fermi level."
    )
    fwhm_ev: float = Field(
        default=0.0, ge=0, description="Gaussian broadening before the integrals (full width)."
    )
    moment_exponent: int = Field(
        default=8, ge=1, le=14, description="Fall-off p of the moments' weight r^-p."
    )
    moment_cutoff_angstrom: float = Field(
        default=12.0, gt=0, description="How far neighbours count in the moments."
    )

    @model_validator(mode="after")
    def _window_has_a_width(self) -> SamsSettings:
        low, high = self.window_ev
        if low >= high:
            raise ValueError(f"window_ev from {low:g} to {high:g} eV is empty: give low < high")
        return self


def settings_hash(*settings: BaseModel) -> str:
    """
    Return a digest that is equal for equal settings and stays so between releases.

    Examples
    --------
    >>> settings_hash(XesSettings()) == settings_hash(XesSettings(fms_atoms=(30,)))
    True
    >>> len(settings_hash(XesSettings(), SamsSettings()))
    64
    """
    content = [each.model_dump(mode="json") for each in settings]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
