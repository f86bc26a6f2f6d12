"""Documents that builders derive from others, and what they say of how they were derived."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from vtc_flows.errors import InputError
from vtc_flows.schemas.documents import FeatureRecord

_FEATURES = re.compile(
    r"(?P<material_id>.+)-(?P<element>[A-Z][a-z]?)-p(?P<exponent>\d+)-r(?P<cutoff>[0-9.e+-]+)"
)
_ALL_ELEMENTS = "all"


class BuildMember(BaseModel):
    """One of the documents that a document was made from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str
    stamp: str = Field(description="Time or digest by which a change of it shows.")


class BuildInfo(BaseModel):
    """How a document was derived; it decides whether it is to be derived again."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    builder: str
    scope: str = Field(description="Digest of the parameters: others have documents of their own.")
    group: str = Field(description="What is derived at once; it may give several documents.")
    fingerprint: str = Field(description="Digest of members, code version and parameters.")
    n_documents: int = Field(ge=1, description="That the group gives.")
    content: str = Field(description="Digest of the document but for its times and this.")
    code_version: str
    parameters: dict[str, Any]
    n_members: int
    members: list[BuildMember] = Field(description="Empty where they are too many to be listed.")
    libraries: dict[str, str] = Field(description="Versions of what else decides the numbers.")
    kept: bool = Field(
        default=False, description="A better document of another writer stands in its place."
    )


class FeatureDoc(FeatureRecord):
    """The features of one absorbing element in one material, in the collection ``features``."""

    record_id: str
    state: Literal["successful"] = "successful"
    formula: str = Field(description="Reduced.")
    prototype: str = Field(description="Anonymous formula and space group number, as AB2-136.")
    space_group_number: int = Field(ge=1, le=230)
    structure_hash: str = Field(description="Of the material that they were made from.")


@dataclass(frozen=True)
class FeatureId:
    """
    The name of features: what, with which moments.

    Examples
    --------
    >>> name = FeatureId("mp-2657", "Ti", 8, 12.0)
    >>> str(name)
    'mp-2657-Ti-p8-r12'
    >>> FeatureId.parse(str(name)) == name
    True
    """

    material_id: str
    element: str
    exponent: int
    cutoff_angstrom: float

    def __str__(self) -> str:
        """Return the name."""
        tail = moments_tag(self.exponent, self.cutoff_angstrom)
        return f"{self.material_id}-{self.element}-{tail}"

    @classmethod
    def parse(cls, text: str) -> FeatureId:
        """Return the parts of a name; raise InputError if it is none."""
        match = _FEATURES.fullmatch(text)
        if match is None:
            raise InputError(f"{text!r} is not the name of features")
        name, element, exponent, cutoff = match.groups()
        return cls(name, element, int(exponent), float(cutoff))


def moments_tag(exponent: int, cutoff_angstrom: float) -> str:
    """
    Return the part of a name that tells the moments' parameters.

    Examples
    --------
    >>> moments_tag(8, 12.5)
    'p8-r12.5'
    """
    return f"p{exponent}-r{repr(float(cutoff_angstrom)).removesuffix('.0')}"


def unusable_material_id(material_id: str, exponent: int, cutoff_angstrom: float) -> str:
    """
    Return the name under which it stands that a material has no features at all.

    It is no name of features: "all" is no element.

    Examples
    --------
    >>> unusable_material_id("mp-1", 8, 12.0)
    'mp-1-all-p8-r12'
    """
    return f"{material_id}-{_ALL_ELEMENTS}-{moments_tag(exponent, cutoff_angstrom)}"
