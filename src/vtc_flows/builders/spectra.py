"""From ``jobs`` and their arrays to ``site_spectra``: each site's spectrum, found by its id."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Unpack

from maggma.core import Store
from pydantic import ValidationError

from vtc_flows.builders.derived import (
    FAILED,
    BuildOptions,
    DerivedBuilder,
    Document,
    Group,
)
from vtc_flows.builders.places import blob_store, collection_store
from vtc_flows.errors import StorageError
from vtc_flows.schemas import (
    FailedSite,
    SpectrumDoc,
    SpectrumId,
    XesSettings,
    same_crystal,
    settings_hash,
    short_hash,
)
from vtc_flows.stores.collections import JOBS, SITE_SPECTRA
from vtc_flows.stores.jobs import BlobStore, database_of
from vtc_flows.stores.records import ARRAYS, find_arrays, oldest_revision, references

_LISTED = (
    *("uuid", "index", "completed_at", "output.material_id", "output.element"),
    *("output.site_index", "output.engine", "output.state", "output.spectra.spectrum_id"),
    "output.failure.settings",
)
_READ = ("uuid", "index", "completed_at", "output")

#: Stands for settings in the name of a failure that does not tell its own.
_UNKNOWN_SIZE, _UNKNOWN_SETTINGS = 0, "0" * 8


class SiteSpectraBuilder(DerivedBuilder):
    """
    Take each site's spectrum out of the jobs that computed it.

    A spectrum is a group; the jobs that gave it are its members. Of several that of the newest
    revision of the engine counts, and of these the newest, but a failure does not replace a
    spectrum of the same crystal and revision. Arrays stay where they are: documents
    refer to them.

    Parameters
    ----------
    jobs, blobs, site_spectra : Store, optional
        Those of the database in the settings if not given.
    **build
        See `BuildOptions`; the query is for ``jobs``.
    """

    groups_at_a_time = 100

    def __init__(
        self,
        jobs: Store | None = None,
        blobs: BlobStore | None = None,
        site_spectra: Store | None = None,
        **build: Unpack[BuildOptions],
    ) -> None:
        self.jobs = jobs or collection_store(JOBS)
        self.blobs = blobs or blob_store()
        self.site_spectra = site_spectra or collection_store(SITE_SPECTRA)
        super().__init__([self.jobs, self.blobs], self.site_spectra, build)

    def parameters(self) -> dict[str, Any]:
        """Return nothing: a spectrum's settings are its own."""
        return {}

    def list_groups(self, query: Mapping[str, Any]) -> Iterator[Group]:
        """Yield the spectra that jobs gave, or should have given."""
        groups: dict[str, dict[str, str]] = {}
        sites = {"$and": [{"output.@class": "SiteXesDoc"}, dict(query)]}
        for job in self.jobs.query(sites, list(_LISTED)):
            for name in _spectrum_names(job["output"]):
                groups.setdefault(name, {})[_job_name(job)] = str(job.get("completed_at"))
        for name, members in groups.items():
            yield Group(name, members)

    def read(self, groups: Sequence[Group]) -> dict[str, Any]:
        """Return for each spectrum the jobs that may have it, and the arrays of all."""
        uuids = {name.rpartition(":")[0] for group in groups for name in group.members}
        found = self.jobs.query({"uuid": {"$in": sorted(uuids)}}, list(_READ))
        jobs = {_job_name(job): job for job in found}
        arrays = find_arrays(database_of(self.blobs), references(list(jobs.values())))
        contents = {}
        for group in groups:
            ours = [jobs[name] for name in group.members if name in jobs]
            if ours:
                wanted = references([_spectrum(job, group.name) for job in ours])
                contents[group.name] = {
                    "name": group.name,
                    "jobs": ours,
                    "arrays": {name: arrays[name] for name in wanted if name in arrays},
                }
        return contents

    def derive(self, content: Document) -> list[Document]:
        """Return the spectrum, or the failure in its place."""
        job = _chosen(content["jobs"], content["name"])
        origin = {"job_uuid": job["uuid"], "job_index": job["index"]}
        spectrum = _spectrum(job, content["name"])
        if spectrum is None:
            failure = FailedSite.model_validate(job["output"]["failure"])
            return [
                {
                    **_identity(content["name"]),
                    "state": FAILED,
                    "reason": failure.reason,
                    "message": failure.message,
                    "failure": failure.model_dump(mode="json"),
                    **origin,
                }
            ]
        document = spectrum_document(spectrum, content["arrays"]).model_dump(mode="json")
        for key in ARRAYS:
            document[key] = _reference(spectrum[key])
        return [{**document, "engine": job["output"]["engine"], "state": "successful", **origin}]

    def failed_document(self, name: str, content: Document) -> Document:
        """Return what the spectrum's name says."""
        return _identity(name)


def spectrum_document(stored: Mapping[str, Any], arrays: Mapping[str, Any]) -> SpectrumDoc:
    """
    Return a spectrum with its arrays.

    Parameters
    ----------
    stored : mapping
        As it stands in a collection, with references in the place of arrays.
    arrays : mapping
        By the names in the references.

    Raises
    ------
    StorageError
        If an array is missing.
    """
    fields = {key: stored[key] for key in SpectrumDoc.model_fields if key in stored}
    for key in ARRAYS:
        name = fields[key]["blob_uuid"]
        if name not in arrays:
            raise StorageError(f"the database has lost the array {key} of {stored['spectrum_id']}")
        fields[key] = arrays[name]
    return SpectrumDoc.model_validate(fields)


def _job_name(job: Mapping[str, Any]) -> str:
    return f"{job['uuid']}:{job['index']}"


def _reference(stored: Mapping[str, str]) -> dict[str, str]:
    return {key: stored[key] for key in ("blob_uuid", "store")}


def _spectrum_names(output: Mapping[str, Any]) -> list[str]:
    """Return the names of the spectra that a site's job gave, or should have given."""
    if output["state"] != FAILED:
        return [spectrum["spectrum_id"] for spectrum in output["spectra"]]
    where = (output["material_id"], output["element"], output["site_index"], output["engine"])
    try:
        settings = XesSettings.model_validate(output["failure"]["settings"])
    except (KeyError, TypeError, ValidationError):  # of a version that did not keep them
        return [str(SpectrumId(*where, _UNKNOWN_SIZE, _UNKNOWN_SETTINGS))]
    return [
        str(SpectrumId(*where, size, short_hash(settings_hash(settings.for_size(size)))))
        for size in settings.fms_atoms
    ]


def _spectrum(job: Mapping[str, Any], name: str) -> Document | None:
    spectra = job["output"]["spectra"]
    return next((each for each in spectra if each["spectrum_id"] == name), None)


def _chosen(jobs: Sequence[Document], name: str) -> Document:
    """Return the job that counts."""
    newest, *older = sorted(
        jobs,
        key=lambda job: (_revision(job), str(job.get("completed_at")), _job_name(job)),
        reverse=True,
    )
    if _spectrum(newest, name) is None:
        failed = newest["output"]["failure"].get("provenance") or {}
        for job in older:
            spectrum = _spectrum(job, name)
            if _revision(job) < _revision(newest):
                break
            if spectrum is not None and _same_or_unknown(
                failed.get("structure"), spectrum["provenance"]["structure"]
            ):
                return job
    return newest


def _revision(job: Mapping[str, Any]) -> int:
    """Return the revision of the engine that a job ran."""
    output = job["output"]
    return oldest_revision(output["spectra"] or [output.get("failure") or {}])


def _same_or_unknown(failed: Document | None, there: Document) -> bool:
    return failed is None or same_crystal(failed, there)


def _identity(name: str) -> Document:
    parts = SpectrumId.parse(name)
    return {
        "spectrum_id": name,
        "material_id": parts.material_id,
        "element": parts.element,
        "site_index": parts.site_index,
        "engine": parts.engine,
        "fms_atoms": parts.fms_atoms,
    }
