"""What the sites of a record agree on: a record says what was computed, not what was asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vtc_flows.crystal.sites import SiteOrbit
from vtc_flows.errors import InputError
from vtc_flows.schemas import (
    EngineProvenance,
    Provenance,
    SiteXesDoc,
    XesSettings,
    same_crystal,
)

Sites = Sequence[SiteXesDoc | None]


@dataclass(frozen=True)
class Agreed:
    """
    What the sites of a record have in common.

    Attributes
    ----------
    settings : XesSettings
        With the cluster sizes of the record or records.
    engine : str
        Its name.
    provenance : EngineProvenance, optional
        The one program behind all spectra; None where there is no spectrum.
    """

    settings: XesSettings
    engine: str
    provenance: EngineProvenance | None


@dataclass(frozen=True)
class Subject:
    """What a record is of."""

    structure: Mapping[str, Any]
    element: str
    material_id: str

    def __str__(self) -> str:
        """Return it for people."""
        return f"{self.material_id} {self.element}"


def agreed(
    subject: Subject,
    orbits: Sequence[SiteOrbit],
    sites: Sites,
    asked: XesSettings,
    *,
    engine: str,
    size: int | None = None,
) -> Agreed:
    """
    Return what sites were computed with, after seeing that they make a record together.

    Parameters
    ----------
    subject : Subject
        What the record is of.
    orbits : sequence of SiteOrbit
        Of the crystal.
    sites : sequence of SiteXesDoc or None
        One for each orbit, in its order; None where a job gave nothing.
    asked : XesSettings
        What counts where no site tells its settings.
    engine : str
        What counts where no site tells its engine.
    size : int, optional
        The only cluster size that counts; all, and all of them alike, if not given.

    Raises
    ------
    InputError
        If a site is of another material, element, place or structure, or sites differ in settings
        or engine; says which sites, in what, and what to do.
    """
    if len(sites) != len(orbits):
        raise InputError(
            f"{len(sites)} sites were given for the {len(orbits)} orbits of {subject.element}"
        )
    found = [document for document in sites if document is not None]
    for orbit, document in zip(orbits, sites, strict=True):
        if document is not None:
            _require_its_own(subject, orbit.representative, document)
    return Agreed(
        settings=_settings(subject, found, size) or asked,
        engine=_engine_name(subject, found) or engine,
        provenance=_engine(subject, found),
    )


def require_document(
    document: SiteXesDoc, subject: Subject, site_index: int, settings: XesSettings
) -> None:
    """
    Refuse a site's document that is not of this site, or was computed with other settings.

    Raises
    ------
    InputError
        Says in what it differs.
    """
    _require_its_own(subject, site_index, document)
    own = computed_with(document)
    if own is not None and own != settings:
        raise InputError(f"it was computed with other settings: {_difference(own, settings)}")


def computed_with(document: SiteXesDoc) -> XesSettings | None:
    """
    Return the settings of a site, with all its cluster sizes; None where it does not tell.

    Raises
    ------
    InputError
        If its own spectra differ.
    """
    if document.failure is not None:
        return document.failure.settings
    first = document.spectra[0].settings
    for spectrum in document.spectra:
        wanted = first.for_size(spectrum.fms_atoms)
        if spectrum.settings != wanted:
            raise InputError(
                f"the spectra of site {document.site_index} of {document.material_id} "
                f"{document.element} were computed with different settings: "
                f"{_difference(wanted, spectrum.settings)}"
            )
    sizes = tuple(sorted({spectrum.fms_atoms for spectrum in document.spectra}))
    return first.model_copy(update={"fms_atoms": sizes})


def _require_its_own(subject: Subject, site_index: int, document: SiteXesDoc) -> None:
    """Refuse a site of something else."""
    wanted = (subject.material_id, subject.element, site_index)
    for name, there in _names(document):
        if there != wanted[: len(there)]:
            raise InputError(
                f"{name} of {' '.join(map(str, there))} was given for site {site_index} of "
                f"{subject}: it does not belong to this record"
            )
    places = [document.failure.site_index] if document.failure is not None else []
    if any(place != site_index for place in places):
        raise InputError(
            f"a failure of site {places[0]} was given for site {site_index} of {subject}: it does "
            "not belong to this record"
        )
    for provenance in _provenances(document):
        if not same_crystal(provenance.structure, subject.structure):
            raise InputError(
                f"site {site_index} of {subject} was computed in another structure, from "
                f"{provenance.source or 'a source unknown'}: compute it in the structure of the "
                "record"
            )


def _names(document: SiteXesDoc) -> list[tuple[str, tuple[Any, ...]]]:
    own = (document.material_id, document.element, document.site_index)
    spectra = [(each.material_id, each.element, each.site_index) for each in document.spectra]
    return [("a site", own), *(("a spectrum", each) for each in spectra)]


def _provenances(document: SiteXesDoc) -> list[Provenance]:
    told = [spectrum.provenance for spectrum in document.spectra]
    if document.failure is not None and document.failure.provenance is not None:
        told.append(document.failure.provenance)
    return told


def _settings(
    subject: Subject, found: Sequence[SiteXesDoc], size: int | None
) -> XesSettings | None:
    """Return the settings of all sites that tell theirs."""
    told: list[tuple[int, XesSettings]] = []
    for document in found:
        own = computed_with(document)
        if own is not None:
            told.append((document.site_index, own if size is None else own.for_size(size)))
    if not told:
        return None
    fields = [name for name in XesSettings.model_fields if len(_by(told, _field(name))) > 1]
    if fields:
        differing = "; ".join(
            f"{name} is {_listed(_by(told, _field(name)), str)}" for name in fields
        )
        raise InputError(
            f"the sites of {subject} were computed with different settings and make no record "
            f"together: {differing}. Compute all of them with the same settings "
            "(update_maker_kwargs of the whole flow, without a name_filter)"
        )
    return told[0][1]


def _engine_name(subject: Subject, found: Sequence[SiteXesDoc]) -> str | None:
    names = _by([(each.site_index, each.engine) for each in found], str)
    if len(names) > 1:
        raise _different_engines(subject, _listed(names, str))
    return next(iter(names), None)


def _engine(subject: Subject, found: Sequence[SiteXesDoc]) -> EngineProvenance | None:
    """Return the one program behind all spectra; a failed site brings no numbers of its own."""
    told = [
        (document.site_index, spectrum.provenance.engine)
        for document in found
        for spectrum in document.spectra
    ]
    builds = _by(told, lambda engine: engine.model_dump_json() if engine is not None else "")
    if len(builds) > 1:
        names = {each.model_dump_json(): _build(each) for _, each in told if each is not None}
        raise _different_engines(subject, _listed(builds, lambda key: names.get(key, "not told")))
    return told[0][1] if told else None


def _different_engines(subject: Subject, listed: str) -> InputError:
    return InputError(
        f"the sites of {subject} were computed by different engines or builds, which are not "
        f"mixed: {listed}. Compute all of them with one"
    )


def _build(engine: EngineProvenance) -> str:
    return (
        f"{engine.name} {engine.version} revision {engine.revision} ({engine.route}, SHA-256 "
        f"{engine.sha256[:8]})"
    )


def _field(name: str) -> Callable[[XesSettings], str]:
    def value(settings: XesSettings) -> str:
        return _plain(getattr(settings, name))

    return value


def _plain(value: object) -> str:
    """Return a field's value as it is written on the command line."""
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _by(told: Sequence[tuple[int, Any]], key: Callable[[Any], str]) -> dict[str, list[int]]:
    """Return the sites by what they tell."""
    groups: dict[str, list[int]] = {}
    for site, value in told:
        sites = groups.setdefault(key(value), [])
        if site not in sites:
            sites.append(site)
    return groups


def _listed(groups: Mapping[str, Sequence[int]], name: Callable[[str], str]) -> str:
    """Return who tells what, as ``fsr (sites 0, 1) and none (site 2)``."""
    return " and ".join(
        f"{name(key)} ({'site' if len(sites) == 1 else 'sites'} {', '.join(map(str, sites))})"
        for key, sites in groups.items()
    )


def _difference(one: XesSettings, other: XesSettings) -> str:
    return "; ".join(
        f"{name} is {_plain(getattr(one, name))}, not {_plain(getattr(other, name))}"
        for name in XesSettings.model_fields
        if getattr(one, name) != getattr(other, name)
    )
