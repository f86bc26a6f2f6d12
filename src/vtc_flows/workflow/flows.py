"""The flow of one absorbing element in one material."""

from __future__ import annotations

from dataclasses import dataclass, field

from jobflow import Flow, Maker, OnMissing
from pymatgen.core.structure import Structure

from vtc_flows.crystal.checks import validate
from vtc_flows.crystal.sites import site_orbits
from vtc_flows.errors import ConfigurationError, InputError
from vtc_flows.feff.registry import BUILT_IN, create_engine
from vtc_flows.schemas import RecordId, SamsSettings
from vtc_flows.settings import load_settings
from vtc_flows.workflow.arguments import (
    as_settings,
    as_text,
    require_material_id,
    require_structure,
    require_window,
)
from vtc_flows.workflow.jobs import SiteXesMaker, gather_records


@dataclass
class PolarizedXesFlowMaker(Maker):
    """
    Make the flow from a crystal to the records of one absorbing element.

    Parameters
    ----------
    name : str
        Name of the flow.
    site_maker : SiteXesMaker
        Makes the job of each site.
    sams_settings : SamsSettings
        How SAMS and the features are made.

    Examples
    --------
    >>> from pymatgen.core import Lattice
    >>> nio = Structure.from_spacegroup(
    ...     "Fm-3m", Lattice.cubic(4.17), ["Ni", "O"], [[0, 0, 0], [0.5, 0.5, 0.5]]
    ... )
    >>> flow = PolarizedXesFlowMaker().make(nio, "Ni", "NiO")
    >>> [job.name for job in flow.jobs]
    ['site XES Ni 0', 'records Ni']
    """

    name: str = "polarized XES"
    site_maker: SiteXesMaker = field(default_factory=SiteXesMaker)
    sams_settings: SamsSettings = field(default_factory=SamsSettings)

    def __post_init__(self) -> None:
        """Take settings as dictionaries too, and refuse what cannot be used."""
        self.name = as_text(self.name, "name")
        self.sams_settings = as_settings(SamsSettings, self.sams_settings, "sams_settings")
        if not isinstance(self.site_maker, SiteXesMaker):
            raise InputError(f"site_maker is {self.site_maker!r}: give a SiteXesMaker(...)")

    def make(
        self, structure: Structure, element: str, material_id: str, *, source: str = ""
    ) -> Flow:
        """
        Make the flow: a job for each orbit of equivalent sites, then one that makes the records.

        Parameters
        ----------
        structure : Structure
            Ordered; its cell and axes stay as they are.
        element : str
            The absorber.
        material_id : str
            Enters ids and metadata.
        source : str
            Where the structure comes from.

        Returns
        -------
        Flow
            Its output is a :class:`vtc_flows.schemas.RecordsDoc`.

        Raises
        ------
        StructureError
            If the structure cannot be used.
        InputError
            If an argument is of the wrong kind, or cannot stand in ids.
        WindowError
            If the window of SAMS reaches beyond the grid of the spectra.
        """
        self.__post_init__()  # attributes may have been assigned since
        self.site_maker.__post_init__()
        require_structure(structure)
        element, source = as_text(element, "element", example="Ti"), as_text(source, "source")
        settings, engine = self.site_maker.settings, _engine_name(self.site_maker.engine)
        require_window(settings, self.sams_settings.window_ev)
        for size in settings.fms_atoms:  # what ids cannot hold is not found out after hours
            RecordId(require_material_id(material_id), element, engine, size, "0" * 8)
        validate(structure, element)
        jobs = []
        for orbit in site_orbits(structure, element):
            one = self.site_maker.make(
                structure,
                orbit.representative,
                material_id,
                multiplicity=orbit.multiplicity,
                source=source,
                window_ev=self.sams_settings.window_ev,
            )
            one.name = f"{self.site_maker.name} {element} {orbit.representative}"
            jobs.append(one)
        last = gather_records(
            structure,
            element,
            material_id,
            [one.output for one in jobs],
            settings,
            self.sams_settings,
            source,
            engine,
        )
        last.name = f"records {element}"
        last.config.on_missing_references = OnMissing.NONE  # a lost site must not lose the others
        flow = Flow([*jobs, last], output=last.output, name=f"{self.name} {material_id} {element}")
        flow.update_metadata({"material_id": material_id, "element": element})
        return flow


def _engine_name(name: str) -> str:
    """Return what an engine calls itself in ids; it need not be installed here."""
    if name in BUILT_IN:
        return name
    try:
        return create_engine(name, load_settings()).name
    except ConfigurationError:
        return "unknown"
