"""From ``site_spectra`` and ``materials`` to ``sams``: another window needs no FEFF."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Unpack

from gridfs import GridFS
from maggma.core import Store
from pymatgen.core.structure import Structure

from vtc_flows import __version__
from vtc_flows.builders.derived import (
    FAILED,
    BuildOptions,
    DerivedBuilder,
    Document,
    Group,
    stamp_text,
)
from vtc_flows.builders.places import blob_store, collection_store
from vtc_flows.builders.spectra import spectrum_document
from vtc_flows.crystal.sites import SiteOrbit, site_orbits
from vtc_flows.schemas import (
    FailedSite,
    Provenance,
    RecordId,
    SamsSettings,
    SiteXesDoc,
    SpectrumId,
    XesSettings,
    same_crystal,
    settings_hash,
    short_hash,
    utc_now,
)
from vtc_flows.stores.collections import MATERIALS, SAMS, SITE_SPECTRA
from vtc_flows.stores.jobs import BlobStore, database_of
from vtc_flows.stores.records import (
    ARRAYS,
    find_arrays,
    is_better,
    put_array,
    references,
    remove_arrays,
)
from vtc_flows.workflow.analysis import sams_records, structure_dict
from vtc_flows.workflow.arguments import in_one_line
from vtc_flows.workflow.materials import structure_hash

_LISTED = ("spectrum_id", "last_updated")
_MATERIAL = "material"
_OTHER_STRUCTURE = {
    "state": FAILED,
    "reason": "structure_changed",
    "message": "all spectra are of another structure than the material has now: compute it again",
}


class SamsBuilder(DerivedBuilder):
    """
    Derive the records of SAMS from the spectra of all sites.

    The spectra of an element in a material by one engine with one cluster size are a group. If one
    is missing, failed, or of another structure than the material has now, the record is incomplete:
    it says which and why, and has no SAMS.

    Parameters
    ----------
    site_spectra, materials, blobs, sams : Store, optional
        Those of the database in the settings if not given. A crystal that is not among the
        materials is taken from its spectra.
    window_ev : (low, high), optional
        Relative to the Fermi level; the whole grid of the spectra if not given.
    fwhm_ev : float
        Gaussian broadening before the integrals, full width.
    moment_exponent, moment_cutoff_angstrom
        Of the moments that make the shared frame and the features.
    **build
        See `BuildOptions`; the query is for ``site_spectra``, as ``{"fms_atoms": 80}``.
    """

    revision = 2  # since 2 with the frame-free anisotropy and more features
    groups_at_a_time = 20

    def __init__(
        self,
        site_spectra: Store | None = None,
        materials: Store | None = None,
        blobs: BlobStore | None = None,
        sams: Store | None = None,
        *,
        window_ev: Sequence[float] | None = None,
        fwhm_ev: float = 0.0,
        moment_exponent: int = 8,
        moment_cutoff_angstrom: float = 12.0,
        **build: Unpack[BuildOptions],
    ) -> None:
        self.site_spectra = site_spectra or collection_store(SITE_SPECTRA)
        self.materials = materials or collection_store(MATERIALS)
        self.blobs = blobs or blob_store()
        self.sams = sams or collection_store(SAMS)
        with in_one_line():  # now, rather than once for each record
            SamsSettings(
                **({} if window_ev is None else {"window_ev": tuple(window_ev)}),
                fwhm_ev=fwhm_ev,
                moment_exponent=moment_exponent,
                moment_cutoff_angstrom=moment_cutoff_angstrom,
            )
        self.window_ev = list(window_ev) if window_ev is not None else None
        self.fwhm_ev = fwhm_ev
        self.moment_exponent = moment_exponent
        self.moment_cutoff_angstrom = moment_cutoff_angstrom
        super().__init__([self.site_spectra, self.materials, self.blobs], self.sams, build)

    def parameters(self) -> dict[str, Any]:
        """Return window, broadening and the moments' parameters."""
        return {
            "window_ev": self.window_ev,
            "fwhm_ev": self.fwhm_ev,
            "moment_exponent": self.moment_exponent,
            "moment_cutoff_angstrom": self.moment_cutoff_angstrom,
        }

    def settings_for(self, settings: XesSettings) -> SamsSettings:
        """Return how SAMS is made of spectra with some settings."""
        low, high = self.window_ev or (-settings.energy_below_ev, settings.energy_above_ev)
        return SamsSettings(
            window_ev=(low, high),
            fwhm_ev=self.fwhm_ev,
            moment_exponent=self.moment_exponent,
            moment_cutoff_angstrom=self.moment_cutoff_angstrom,
        )

    def list_groups(self, query: Mapping[str, Any]) -> Iterator[Group]:
        """Yield what spectra belong to one record, with the material's structure."""
        groups: dict[RecordId, dict[str, str]] = {}
        for found in self.site_spectra.query(dict(query), list(_LISTED)):
            name = SpectrumId.parse(found["spectrum_id"])
            if name.fms_atoms:  # else a failure that does not tell its settings
                group = _group_of(name)
                stamp = stamp_text(found.get("last_updated"))
                groups.setdefault(group, {})[found["spectrum_id"]] = stamp
        structures = {
            found["material_id"]: found["structure_hash"]
            for found in self.materials.query({}, ["material_id", "structure_hash"])
        }
        for group, members in groups.items():
            if group.material_id in structures:
                members[_MATERIAL] = structures[group.material_id]
            yield Group(str(group), members)

    def read(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Return for each record its spectra and failures, with arrays."""
        names = sorted({name for group in groups for name in group.members} - {_MATERIAL})
        found = self.site_spectra.query({"spectrum_id": {"$in": names}})
        spectra = {each["spectrum_id"]: each for each in found}
        arrays = find_arrays(database_of(self.blobs), references(list(spectra.values())))
        contents = {}
        for group in groups:
            ours = [spectra[name] for name in sorted(group.members) if name in spectra]
            if ours:
                wanted = references(ours)
                contents[group.name] = {
                    "name": group.name,
                    "spectra": ours,
                    "arrays": {name: arrays[name] for name in wanted if name in arrays},
                    "structure_hash": group.members.get(_MATERIAL),
                }
        return contents

    def derive(self, content: Document) -> list[Document]:
        """Return the record."""
        name = RecordId.parse(content["name"])
        chosen = _chosen_structure(content)
        if chosen is None:
            return [{**self.failed_document(content["name"], content), **_OTHER_STRUCTURE}]
        settings = _settings(content)
        sites = {}
        for stored in content["spectra"]:
            if stored["state"] == FAILED:
                site = _failed_site(stored)
            else:
                spectrum = spectrum_document(stored, content["arrays"])
                site = _site(name, stored["site_index"], spectra=[spectrum])
            if chosen.is_of(stored):
                sites[stored["site_index"]] = site
        orbits = site_orbits(chosen.structure, name.element)
        (record,) = sams_records(
            chosen.structure,
            name.element,
            name.material_id,
            [
                sites.get(orbit.representative) or chosen.missing(name, orbit, settings)
                for orbit in orbits
            ],
            settings,
            self.settings_for(settings),
            source=chosen.source,
            size=name.fms_atoms,
        )
        return [record.model_dump(mode="json")]

    def failed_document(self, name: str, content: Document) -> Document:
        """Return what the record's name would say."""
        settings = _settings(content)
        digest = settings_hash(settings, self.settings_for(settings))
        parts = replace(RecordId.parse(name), hash8=short_hash(digest))
        return {
            "record_id": str(parts),
            "material_id": parts.material_id,
            "element": parts.element,
            "engine": parts.engine,
            "fms_atoms": parts.fms_atoms,
        }

    def write(self, documents: list[Document]) -> None:
        """Write records with arrays of their own, and remove the arrays of what they replace."""
        names = [document["record_id"] for document in documents]
        fields = ["record_id", "state", "build", "provenance.structure", "provenance.engine"]
        fields.append("failures.provenance.engine")
        before = {
            found["record_id"]: found
            for found in self.sams.query({"record_id": {"$in": names}}, fields)
        }
        database = database_of(self.blobs)
        blobs = GridFS(database, "data")
        to_write = []
        for document in documents:
            old = before.get(document["record_id"], {})
            kept = _is_kept(old, document)
            same = old.get("build", {}).get("content") == document["build"]["content"]
            if kept:
                self.report.n_written -= 1
                self.report.n_unchanged += 1
            if kept or same:
                build = {**document["build"], "kept": kept}
                self.sams._collection.update_one(
                    {"record_id": document["record_id"]}, {"$set": {"build": build}}
                )
                continue
            for site in document.get("sites", ()):
                for key in ARRAYS:
                    site[key] = put_array(blobs, site[key], document["record_id"])
            to_write.append(document)
        super().write(to_write)
        self._remove_arrays([each["record_id"] for each in to_write], set(references(to_write)))

    def remove(self, names: list[str]) -> int:
        """Remove records and their arrays; return how many."""
        self._remove_arrays(names, set())
        return super().remove(names)

    def _remove_arrays(self, owners: Sequence[str], needed: set[str]) -> None:
        """Remove the arrays of records but those that are needed."""
        database = database_of(self.blobs)
        owned: dict[str, list[str]] = {}
        for file in database["data.files"].find(
            {"metadata.job_uuid": {"$in": list(owners)}},
            {"metadata.blob_uuid": 1, "metadata.job_uuid": 1},
        ):
            about = file["metadata"]
            if about["blob_uuid"] not in needed:
                owned.setdefault(about["job_uuid"], []).append(about["blob_uuid"])
        for owner, names in owned.items():
            remove_arrays(database, names, owner=owner)


class _Chosen:
    """The structure that a record is of, and which spectra belong to it."""

    def __init__(self, stored: Document, wanted_hash: str | None) -> None:
        self._content = _provenance(stored)["structure"]
        self.structure = Structure.from_dict(self._content)
        self.source: str = _provenance(stored)["source"]
        self._agrees = wanted_hash is None or structure_hash(self.structure) == wanted_hash

    @property
    def agrees(self) -> bool:
        """Whether it is what the material has now."""
        return self._agrees

    def is_of(self, stored: Document) -> bool:
        """Say whether a spectrum was computed for it."""
        return same_crystal(_provenance(stored)["structure"], self._content)

    def missing(self, name: RecordId, orbit: SiteOrbit, settings: XesSettings) -> SiteXesDoc:
        """Return the document of a site without a spectrum."""
        x, y, z = (float(part) for part in self.structure[orbit.representative].frac_coords)
        failure = FailedSite(
            site_index=orbit.representative,
            frac_coords=(x, y, z),
            multiplicity=orbit.multiplicity,
            reason="no_spectrum",
            message="there is no spectrum of this site of this structure, and no failure",
            log_tail="",
            settings=settings,
            provenance=Provenance(
                package_version=__version__,
                engine=None,
                settings_hash=settings_hash(settings),
                created_at=utc_now(),
                source=self.source,
                structure=structure_dict(self.structure),
            ),
        )
        return _site(name, orbit.representative, failure=failure)


def _chosen_structure(content: Document) -> _Chosen | None:
    """Return the structure of a record: the one computed last of those the material may have."""
    newest_first = sorted(
        content["spectra"], key=lambda each: str(_provenance(each)["created_at"]), reverse=True
    )
    tried: list[Document] = []
    for stored in newest_first:
        structure = _provenance(stored)["structure"]
        if structure in tried:
            continue
        tried.append(structure)
        chosen = _Chosen(stored, content["structure_hash"])
        if chosen.agrees:
            return chosen
    return None


def _group_of(name: SpectrumId) -> RecordId:
    return RecordId(name.material_id, name.element, name.engine, name.fms_atoms, name.hash8)


def _settings(content: Document) -> XesSettings:
    """Return the settings of the spectra, with one size."""
    stored = content["spectra"][0]
    if stored["state"] == FAILED:
        settings = XesSettings.model_validate(stored["failure"]["settings"])
        return settings.for_size(stored["fms_atoms"])
    return XesSettings.model_validate(stored["settings"])


def _provenance(stored: Document) -> Document:
    place: Document = stored["failure"] if stored["state"] == FAILED else stored
    provenance: Document = place["provenance"]
    return provenance


def _failed_site(stored: Document) -> SiteXesDoc:
    name = _group_of(SpectrumId.parse(stored["spectrum_id"]))
    failure = FailedSite.model_validate(stored["failure"])
    return _site(name, stored["site_index"], failure=failure)


def _site(
    name: RecordId, index: int, *, spectra: Sequence[Any] = (), failure: FailedSite | None = None
) -> SiteXesDoc:
    return SiteXesDoc(
        material_id=name.material_id,
        element=name.element,
        site_index=index,
        engine=name.engine,
        state="failed" if failure is not None else "successful",
        spectra=list(spectra),
        failure=failure,
    )


def _is_kept(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Say whether what a workflow wrote is worth more than ours."""
    build = old.get("build")
    is_theirs = bool(old) and (build is None or build.get("kept", False))
    return is_theirs and FAILED not in (old["state"], new["state"]) and is_better(old, new)
