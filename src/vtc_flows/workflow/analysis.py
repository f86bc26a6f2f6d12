"""From the spectra of all sites of an element to its record: arrays in, documents out, no files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from pymatgen.core.structure import Structure

from vtc_flows import __version__
from vtc_flows.crystal.features import (
    FREE_FEATURE_NAMES,
    StructureFeatures,
    features_by_element,
)
from vtc_flows.crystal.sites import SiteOrbit, as_symbols
from vtc_flows.schemas import (
    FailedSite,
    FeatureRecord,
    Features,
    Provenance,
    RecordId,
    SamsRecord,
    SamsSettings,
    SiteXesDoc,
    SpectrumDoc,
    Units,
    XesSettings,
    settings_hash,
    short_hash,
    utc_now,
)
from vtc_flows.workflow.agreement import Subject, agreed
from vtc_flows.workflow.arguments import (
    require_material_id,
    require_structure,
    require_window,
)
from vtc_flows.workflow.evaluation import Crystal, evaluate, matrix


def sams_records(
    structure: Structure,
    element: str,
    material_id: str,
    sites: Sequence[SiteXesDoc | None],
    settings: XesSettings,
    sams_settings: SamsSettings,
    *,
    source: str = "",
    engine: str = "unknown",
    size: int | None = None,
) -> list[SamsRecord]:
    """
    Make the records of an element, one for each FMS size.

    Parameters
    ----------
    structure : Structure
        The crystal.
    element : str
        The absorber.
    material_id : str
        Enters the ids.
    sites : sequence of SiteXesDoc or None
        One for each orbit, in the order of `site_orbits`; None where a job gave nothing.
    settings : XesSettings
        What was asked of the engine; it counts only where no site tells what it was computed with.
    sams_settings : SamsSettings
        Window, broadening, moments.
    source : str
        Where the structure comes from.
    engine : str
        Name of the engine, where no site tells it.
    size : int, optional
        The only cluster size that is wanted; all that the sites have if not given.

    Returns
    -------
    list of SamsRecord
        By rising cluster size. SAMS needs the spectra of all sites: if one is missing, the record
        says which and why, and holds no SAMS.

    Raises
    ------
    InputError
        If the sites make no record together; see `vtc_flows.workflow.agreement`.
    WindowError
        If the window reaches beyond the grid that they were computed on.
    """
    crystal = Crystal.of(structure, element, sams_settings)
    features = crystal.features
    content = structure_dict(structure)
    common = agreed(
        Subject(content, element, material_id),
        features.orbits,
        sites,
        settings if size is None else settings.for_size(size),
        engine=engine,
        size=size,
    )
    settings, engine = common.settings, common.engine
    if any(document is not None and document.spectra for document in sites):
        require_window(settings, sams_settings.window_ev)
    failures = [
        failure
        for orbit, document in zip(features.orbits, sites, strict=True)
        if (failure := _failure(structure, orbit, document, settings, source)) is not None
    ]
    records = []
    for n_atoms in settings.fms_atoms:
        one_size = settings.for_size(n_atoms)
        digest = settings_hash(one_size, sams_settings)
        spectra = [_of_size(document, n_atoms) for document in sites]
        evaluated = evaluate(crystal, spectra, sams_settings)
        record_id = RecordId(material_id, element, engine, n_atoms, short_hash(digest))
        records.append(
            SamsRecord(
                record_id=str(record_id),
                material_id=material_id,
                element=element,
                engine=engine,
                fms_atoms=n_atoms,
                state="incomplete" if failures else "complete",
                settings=one_size,
                sams_settings=sams_settings,
                units=Units(),
                frame=matrix(evaluated.frame.axes),
                frame_freedom=features.frame.freedom,
                window_ev=evaluated.window_ev,
                **evaluated.values,
                sites=evaluated.sites,
                failures=failures,
                features=features_document(features),
                provenance=Provenance(
                    package_version=__version__,
                    engine=common.provenance,
                    settings_hash=digest,
                    created_at=utc_now(),
                    source=source,
                    structure=content,
                ),
            )
        )
    return records


def feature_records(
    structure: Structure,
    elements: str | Sequence[str],
    material_id: str,
    sams_settings: SamsSettings,
    *,
    source: str = "",
) -> list[FeatureRecord]:
    """
    Return the features of elements in a crystal as documents; no engine is needed.

    Raises
    ------
    StructureError
        If the structure cannot be used.
    """
    require_structure(structure)
    require_material_id(material_id)
    found = features_by_element(
        structure,
        as_symbols(elements),
        exponent=sams_settings.moment_exponent,
        moment_cutoff_angstrom=sams_settings.moment_cutoff_angstrom,
    )
    return [
        FeatureRecord(
            material_id=material_id,
            element=element,
            units=Units(),
            features=features_document(features),
            frame=matrix(features.frame.axes),
            frame_freedom=features.frame.freedom,
            moment_exponent=sams_settings.moment_exponent,
            moment_cutoff_angstrom=sams_settings.moment_cutoff_angstrom,
            package_version=__version__,
            source=source,
        )
        for element, features in found.items()
    ]


def structure_dict(structure: Structure) -> dict[str, Any]:
    """Return a structure as data, without the marks that make stores turn it into an object."""
    content: dict[str, Any] = json.loads(structure.to_json())
    return {key: value for key, value in content.items() if not key.startswith("@")}


def features_document(features: StructureFeatures) -> Features:
    """Return the features as they stand in documents."""
    return Features(
        **{name: _or_none(value) for name, value in features.values().items()},
        **{name: getattr(features, name) for name in FREE_FEATURE_NAMES},
        surroundings=features.surroundings,
        oxidation_method=features.oxidation_method,
        n_without_electronegativity=features.n_without_electronegativity,
    )


def _of_size(document: SiteXesDoc | None, size: int) -> SpectrumDoc | None:
    spectra = document.spectra if document is not None else []
    return next((spectrum for spectrum in spectra if spectrum.fms_atoms == size), None)


def _failure(
    structure: Structure,
    orbit: SiteOrbit,
    document: SiteXesDoc | None,
    settings: XesSettings,
    source: str,
) -> FailedSite | None:
    if document is not None:
        return document.failure
    x, y, z = (float(value) for value in structure[orbit.representative].frac_coords)
    return FailedSite(
        site_index=orbit.representative,
        frac_coords=(x, y, z),
        multiplicity=orbit.multiplicity,
        reason="job_failed",
        message="the site's job ended without a result; its own record says why",
        log_tail="",
        settings=settings,
        provenance=Provenance(
            package_version=__version__,
            engine=None,
            settings_hash=settings_hash(settings),
            created_at=utc_now(),
            source=source,
            structure=structure_dict(structure),
        ),
    )


def _or_none(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
