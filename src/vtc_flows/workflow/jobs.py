"""The two jobs of a material: the spectra of one site, and the records made of all sites."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property, wraps
from inspect import signature
from pathlib import Path
from typing import Any

from jobflow import Maker, job
from pymatgen.core.structure import Structure

from vtc_flows import __version__
from vtc_flows.crystal.clusters import Cluster, absorber_cluster
from vtc_flows.errors import (
    Attempt,
    ClusterError,
    EngineError,
    IsolatedAbsorberError,
    WindowError,
)
from vtc_flows.feff.core_valence import CoreValence
from vtc_flows.feff.engine import Engine, EngineFacts, SecondStart, SiteSpectrum
from vtc_flows.feff.registry import create_engine
from vtc_flows.physics.windows import checked_window
from vtc_flows.schemas import (
    AttemptDoc,
    EngineProvenance,
    FailedSite,
    Provenance,
    RecordsDoc,
    SamsSettings,
    ScfDoc,
    SecondStartDoc,
    SeparationDoc,
    SiteXesDoc,
    SpectrumDoc,
    SpectrumId,
    ValenceBottomDoc,
    XesSettings,
    settings_hash,
    short_hash,
    utc_now,
)
from vtc_flows.settings import load_settings
from vtc_flows.workflow.agreement import Subject
from vtc_flows.workflow.analysis import sams_records, structure_dict
from vtc_flows.workflow.arguments import (
    as_settings,
    as_text,
    is_reference,
    require_count,
    require_material_id,
    require_site,
    require_structure,
    require_window,
)
from vtc_flows.workflow.progress import SiteEvent, report
from vtc_flows.workflow.site_cache import keep_site, load_site, site_digest, site_file

#: What goes to the additional store ``data``: arrays are too long for a database's documents.
DATA_KEYS = ["energy_ev", "tensor", "background"]


def site_cluster(structure: Structure, site_index: int, settings: XesSettings) -> Cluster:
    """Return the atoms around a site that its calculation needs; see `absorber_cluster`."""
    return absorber_cluster(
        structure, site_index, settings.listed_radius_angstrom, n_neighbors=settings.n_neighbors
    )


def _checked(make: Callable[..., Any]) -> Callable[..., Any]:
    """Check the arguments of a job where it is made, as far as they are known there."""
    names = signature(make)

    @wraps(make)  # also what jobflow knows a job's method by
    def checked(
        maker: SiteXesMaker, structure: Any, site_index: Any, material_id: Any, **options: Any
    ) -> Any:
        given = {"structure": structure, "site_index": site_index, "material_id": material_id}
        given |= options
        names.bind(maker, **given)  # one that is misspelled is refused here
        maker.__post_init__()  # attributes may have been assigned since
        return make(maker, **_site_arguments(given))

    return checked


def _site_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the arguments of a site's job; what another job is to give passes as it is.

    Raises
    ------
    InputError
        If one is of the wrong kind.
    """
    checked = dict(given)
    known = {name for name, value in given.items() if not is_reference(value)}
    if "structure" in known:
        require_structure(given["structure"])
    if {"structure", "site_index"} <= known:
        checked["site_index"] = require_site(given["site_index"], given["structure"])
    if "material_id" in known:
        require_material_id(given["material_id"])
    if "multiplicity" in known:
        checked["multiplicity"] = require_count(given["multiplicity"], "multiplicity")
    if "source" in known:
        checked["source"] = as_text(given["source"], "source")
    if "window_ev" in known and given["window_ev"] is not None:
        checked["window_ev"] = checked_window(given["window_ev"])
    return checked


@dataclass
class SiteXesMaker(Maker):
    """
    Make the job that computes the spectra of one site.

    Parameters
    ----------
    name : str
        Name of the job.
    engine : str
        Name of the engine; see :func:`vtc_flows.feff.registry.create_engine`.
    settings : XesSettings
        How, also as a dictionary; several FMS sizes share one calculation of the potentials.
    cache_directory : str, optional
        Folder that keeps finished sites; a site found there is not computed again.
    """

    name: str = "site XES"
    engine: str = "feff8l"
    settings: XesSettings = field(default_factory=XesSettings)
    cache_directory: str | None = None

    def __post_init__(self) -> None:
        """Take settings as a dictionary and the folder as a path too; refuse anything else."""
        self.name, self.engine = as_text(self.name, "name"), as_text(self.engine, "engine")
        self.settings = as_settings(XesSettings, self.settings, "settings")
        if self.cache_directory is not None:
            self.cache_directory = as_text(self.cache_directory, "cache_directory")

    @_checked
    @job(data=DATA_KEYS, output_schema=SiteXesDoc)
    def make(
        self,
        structure: Structure,
        site_index: int,
        material_id: str,
        *,
        multiplicity: int = 1,
        source: str = "",
        window_ev: tuple[float, float] | None = None,
    ) -> SiteXesDoc:
        """
        Compute the spectra of one site.

        Parameters
        ----------
        structure : Structure
            Its cell and axes stay as they are.
        site_index : int
            The absorber.
        material_id : str
            Enters the ids of the spectra.
        multiplicity : int
            Number of equivalent sites in the cell.
        source : str
            Where the structure comes from.
        window_ev : (low, high), optional
            The window of SAMS that the spectra are for: a grid that does not hold it is a failure
            before the engine starts, whatever the settings have become since the flow was made.

        Returns
        -------
        SiteXesDoc
            The spectra, or why there are none: a site that fails does not stop the others.

        Raises
        ------
        InputError
            If an argument is of the wrong kind; where the job is made already, if it is known then.
        """
        return self.compute(
            structure,
            site_index,
            material_id,
            multiplicity=multiplicity,
            source=source,
            window_ev=window_ev,
        )

    def compute(
        self,
        structure: Structure,
        site_index: int,
        material_id: str,
        *,
        multiplicity: int = 1,
        source: str = "",
        window_ev: tuple[float, float] | None = None,
    ) -> SiteXesDoc:
        """Do here and now what the job of :meth:`make` does."""
        given = _site_arguments(
            {
                "structure": structure,
                "site_index": site_index,
                "material_id": material_id,
                "multiplicity": multiplicity,
                "source": source,
            }
        )
        site = _Site(**given)
        engine = create_engine(self.engine, load_settings())
        try:
            if window_ev is not None:
                require_window(self.settings, window_ev)
            cluster = site_cluster(structure, site_index, self.settings)
            document = self._finished(site, engine, cluster)
        except (EngineError, ClusterError, IsolatedAbsorberError, WindowError) as error:
            document = site.failed(error, engine, self.settings)
            report(site.event("failed"))
        return document

    def _finished(self, site: _Site, engine: Engine, cluster: Cluster) -> SiteXesDoc:
        """Return the site's document, from the kept ones where it is among them."""
        path = None
        if self.cache_directory is not None:
            digest = site_digest(site.subject.structure, cluster, self.settings, engine.identity())
            path = site_file(
                Path(self.cache_directory), site.material_id, site.element, site.site_index, digest
            )
            kept = load_site(path, site.subject, site.site_index, self.settings)
            if kept is not None:
                report(site.event("kept"))
                return kept
        spectra = engine.run(cluster, self.settings, progress=site.progress)
        document = site.successful(spectra, self.settings, n_listed_atoms=len(cluster))
        if path is not None:
            keep_site(path, document)
        report(site.event("done"))
        return document


@job(data=DATA_KEYS, output_schema=RecordsDoc)
def gather_records(
    structure: Structure,
    element: str,
    material_id: str,
    sites: list[SiteXesDoc | dict[str, Any] | None],
    settings: XesSettings,
    sams_settings: SamsSettings,
    source: str = "",
    engine: str = "unknown",
) -> RecordsDoc:
    """
    Make the records of an element from its sites: one for each FMS size.

    Parameters
    ----------
    structure : Structure
        The crystal.
    element : str
        The absorber.
    material_id : str
        Enters the ids of the records.
    sites : list of SiteXesDoc or None
        One for each orbit, in the order of `site_orbits`; None where a job ended without output.
    settings : XesSettings
        What was asked of the engine when the flow was made. What the sites say they were computed
        with goes before it; it counts where none of them left anything.
    sams_settings : SamsSettings
        How SAMS and the features are made.
    source : str
        Where the structure comes from.
    engine : str
        Name of the engine, for a record of which no site job left anything.
    """
    documents = [None if one is None else SiteXesDoc.model_validate(_plain(one)) for one in sites]
    return RecordsDoc(
        records=sams_records(
            structure,
            element,
            material_id,
            documents,
            settings,
            sams_settings,
            source=source,
            engine=engine,
        )
    )


def _plain(document: SiteXesDoc | dict[str, Any]) -> SiteXesDoc | dict[str, Any]:
    """Take away what a store adds to a stored document."""
    if isinstance(document, SiteXesDoc):
        return document
    return {key: value for key, value in document.items() if not key.startswith("@")}


@dataclass(frozen=True)
class _Site:
    """One site and what its documents say of it."""

    structure: Structure
    site_index: int
    material_id: str
    multiplicity: int
    source: str

    @property
    def element(self) -> str:
        return str(self.structure[self.site_index].specie.symbol)

    @cached_property
    def subject(self) -> Subject:
        return Subject(structure_dict(self.structure), self.element, self.material_id)

    @property
    def frac_coords(self) -> tuple[float, float, float]:
        x, y, z = (float(value) for value in self.structure[self.site_index].frac_coords)
        return x, y, z

    def event(self, stage: str, done: int = 0, total: int = 0) -> SiteEvent:
        return SiteEvent(self.material_id, self.element, self.site_index, stage, done, total)

    def progress(self, stage: str, done: int, total: int) -> None:
        report(self.event(stage, done, total))

    def failed(self, error: Exception, engine: Engine, settings: XesSettings) -> SiteXesDoc:
        facts = getattr(engine, "facts", None)
        failure = FailedSite(
            site_index=self.site_index,
            frac_coords=self.frac_coords,
            multiplicity=self.multiplicity,
            **_told_by(error),
            settings=settings,
            provenance=self._provenance(
                facts if isinstance(facts, EngineFacts) else None, settings_hash(settings)
            ),
        )
        return SiteXesDoc(
            material_id=self.material_id,
            element=self.element,
            site_index=self.site_index,
            engine=engine.name,
            state="failed",
            spectra=[],
            failure=failure,
        )

    def successful(
        self, spectra: list[SiteSpectrum], settings: XesSettings, *, n_listed_atoms: int
    ) -> SiteXesDoc:
        documents = [
            self._document(spectrum, settings.for_size(size), n_listed_atoms)
            for size, spectrum in zip(settings.fms_atoms, spectra, strict=True)
        ]
        return SiteXesDoc(
            material_id=self.material_id,
            element=self.element,
            site_index=self.site_index,
            engine=spectra[0].engine.name,
            state="successful",
            spectra=documents,
            failure=None,
        )

    def _document(
        self, spectrum: SiteSpectrum, settings: XesSettings, n_listed_atoms: int
    ) -> SpectrumDoc:
        digest = settings_hash(settings)
        (size,) = settings.fms_atoms
        bottom = spectrum.bottom
        name = SpectrumId(
            self.material_id,
            self.element,
            self.site_index,
            spectrum.engine.name,
            size,
            short_hash(digest),
        )
        return SpectrumDoc(
            spectrum_id=str(name),
            material_id=self.material_id,
            element=self.element,
            site_index=self.site_index,
            frac_coords=self.frac_coords,
            multiplicity=self.multiplicity,
            fms_atoms=size,
            n_fms_atoms=spectrum.fms_atoms,
            fms_radius_angstrom=spectrum.fms_radius_angstrom,
            n_listed_atoms=n_listed_atoms,
            e_fermi_ev=spectrum.e_fermi_ev,
            valence_bottom=bottom and ValenceBottomDoc(**asdict(bottom)),
            converged=spectrum.scf.converged,
            scf=ScfDoc(
                n_iterations=spectrum.scf.n_iterations,
                recovery=spectrum.scf.recovery,
                fermi_history_ev=list(spectrum.scf.fermi_history_ev),
                attempts=_attempt_documents(spectrum.scf.attempts),
                charges_e=list(spectrum.scf.charges_e),
                separation=_separation_document(spectrum.scf.separation),
                restarts=spectrum.scf.restarts,
                mixing=spectrum.scf.mixing,
                second_start=_second_start_document(spectrum.scf.second_start),
            ),
            energy_ev=spectrum.energy_ev.tolist(),
            tensor=spectrum.tensor.tolist(),
            background=spectrum.background.tolist(),
            edge_cross_section_angstrom2=spectrum.edge_cross_section_angstrom2,
            photon_edge_ev=spectrum.photon_edge_ev,
            timings=spectrum.timings_s,
            checks=spectrum.checks,
            remarks=list(bottom.remarks(spectrum.e_fermi_ev)) if bottom else [],
            engine_input=spectrum.input_text,
            settings=settings,
            provenance=self._provenance(spectrum.engine, digest),
        )

    def _provenance(self, engine: EngineFacts | None, digest: str) -> Provenance:
        return Provenance(
            package_version=__version__,
            engine=None if engine is None else EngineProvenance(**asdict(engine)),
            settings_hash=digest,
            created_at=utc_now(),
            source=self.source,
            structure=dict(self.subject.structure),
        )


def _told_by(error: Exception) -> dict[str, Any]:
    """Return what an error tells for a failed site's document."""
    if not isinstance(error, EngineError):
        reason = "window" if isinstance(error, WindowError) else "cluster"
        return {"reason": reason, "message": str(error), "log_tail": ""}
    return {
        "reason": error.reason,
        "message": error.message,
        "log_tail": error.log_tail,
        "attempts": _attempt_documents(error.attempts),
        "engine_input": error.input_text,
        "run_dir": None if error.run_dir is None else str(error.run_dir),
    }


def _second_start_document(second: SecondStart | None) -> SecondStartDoc | None:
    return None if second is None else SecondStartDoc(**asdict(second))


def _separation_document(separation: CoreValence | None) -> SeparationDoc | None:
    if separation is None:
        return None
    return SeparationDoc(
        core_valence_ev=separation.energy_ev,
        moves_ev=list(separation.moves_ev),
        shells=[list(names) for names in separation.shell_names()],
        occupations_e=[list(row) for row in separation.occupations_e],
    )


def _attempt_documents(attempts: Sequence[Attempt]) -> list[AttemptDoc]:
    """Return failed tries as they stand in documents."""
    return [AttemptDoc(**asdict(one)) for one in attempts]
