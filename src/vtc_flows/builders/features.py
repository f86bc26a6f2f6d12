"""From ``materials`` to ``features``: numbers of the structure alone; no spectra are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Unpack

from maggma.core import Store
from pymatgen.core.structure import Structure

from vtc_flows.builders.derived import (
    BuildOptions,
    DerivedBuilder,
    Document,
    Group,
    failure,
    stamp_text,
)
from vtc_flows.builders.places import collection_store
from vtc_flows.crystal.prototypes import names_of_kind
from vtc_flows.crystal.sites import absorbers
from vtc_flows.errors import VtcFlowsError
from vtc_flows.schemas import FeatureRecord, SamsSettings
from vtc_flows.schemas.derived import FeatureDoc, FeatureId, unusable_material_id
from vtc_flows.stores.collections import FEATURES, MATERIALS
from vtc_flows.workflow.analysis import feature_records
from vtc_flows.workflow.materials import structure_hash


class FeatureBuilder(DerivedBuilder):
    """
    Derive the features of every 3d metal in every material.

    A material is a group: its symmetry, oxidation states and neighbours serve all its elements.

    Parameters
    ----------
    materials, features : Store, optional
        Those of the database in the settings if not given.
    moment_exponent : int
        Fall-off p of the moments' weight r^-p.
    moment_cutoff_angstrom : float
        How far neighbours count in the moments.
    **build
        See `BuildOptions`; the query is for ``materials``.
    """

    revision = 2  # since 2 with the features without charges and frames
    groups_at_a_time = 200

    def __init__(
        self,
        materials: Store | None = None,
        features: Store | None = None,
        *,
        moment_exponent: int = 8,
        moment_cutoff_angstrom: float = 12.0,
        **build: Unpack[BuildOptions],
    ) -> None:
        self.materials = materials or collection_store(MATERIALS)
        self.features = features or collection_store(FEATURES)
        self.moment_exponent = moment_exponent
        self.moment_cutoff_angstrom = moment_cutoff_angstrom
        self._settings = SamsSettings(
            moment_exponent=moment_exponent, moment_cutoff_angstrom=moment_cutoff_angstrom
        )
        super().__init__([self.materials], self.features, build)

    def parameters(self) -> dict[str, Any]:
        """Return the moments' parameters."""
        return {
            "moment_exponent": self.moment_exponent,
            "moment_cutoff_angstrom": self.moment_cutoff_angstrom,
        }

    def list_groups(self, query: Mapping[str, Any]) -> Iterator[Group]:
        """Yield the materials."""
        fields = ["material_id", "structure_hash", "last_updated"]
        for found in self.materials.query(dict(query), fields):
            stamp = f"{stamp_text(found.get('last_updated'))} {found.get('structure_hash')}"
            yield Group(found["material_id"], {found["material_id"]: stamp})

    def read(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Return the materials' documents."""
        names = [group.name for group in groups]
        fields = ["material_id", "structure", "source", "formula"]
        found = self.materials.query({"material_id": {"$in": names}}, fields)
        return {each["material_id"]: each for each in found}

    def derive(self, content: Document) -> list[Document]:
        """Return the features of each element, or why one has none."""
        structure = Structure.from_dict(content["structure"])
        elements = absorbers(structure)
        known = structure_hash(structure)
        try:
            records = self._records(content, structure, elements)
        except VtcFlowsError:
            if len(elements) == 1:
                raise
        else:
            return [_document(record, structure, known) for record in records]
        # one of them is the trouble: what is shared is done again, for the few where it happens
        documents: list[Document] = []
        for element in elements:
            try:
                (record,) = self._records(content, structure, [element])
            except VtcFlowsError as error:
                named = self._named(content["material_id"], element)
                documents.append({**named, **failure(error)})
            else:
                documents.append(_document(record, structure, known))
        return documents

    def failed_document(self, name: str, content: Document) -> Document:
        """Return the name of a material without any features."""
        record_id = unusable_material_id(name, self.moment_exponent, self.moment_cutoff_angstrom)
        return {"record_id": record_id, "material_id": name, "element": None}

    def _records(
        self, content: Document, structure: Structure, elements: Sequence[str]
    ) -> list[FeatureRecord]:
        return feature_records(
            structure,
            elements,
            content["material_id"],
            self._settings,
            source=content.get("source", ""),
        )

    def _named(self, material_id: str, element: str) -> Document:
        name = FeatureId(material_id, element, self.moment_exponent, self.moment_cutoff_angstrom)
        return {"record_id": str(name), "material_id": material_id, "element": element}


def _document(record: FeatureRecord, structure: Structure, known: str) -> Document:
    name = FeatureId(
        record.material_id, record.element, record.moment_exponent, record.moment_cutoff_angstrom
    )
    return FeatureDoc(
        **record.model_dump(),
        record_id=str(name),
        **names_of_kind(structure, record.features.n_sg),
        structure_hash=known,
    ).model_dump(mode="json")
