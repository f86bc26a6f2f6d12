"""From crystals to FireWorks workflows: one small workflow for each crystal."""

from __future__ import annotations

import contextlib
import io
import json
import math
import uuid
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fireworks import Firework, LaunchPad, Workflow
from jobflow import Flow
from jobflow.managers.fireworks import flow_to_workflow

from vtc_flows.crystal.checks import validate
from vtc_flows.crystal.clusters import Cluster, scf_radius
from vtc_flows.crystal.sites import absorbers, as_symbols, site_orbits
from vtc_flows.crystal.sources import StructureRecord
from vtc_flows.errors import InputError, VtcFlowsError
from vtc_flows.feff.registry import current_revision
from vtc_flows.schemas import KnownCrystal, XesSettings, require_same_crystal, settings_hash
from vtc_flows.stores.connection import MongoDatabase, database_errors
from vtc_flows.stores.crystals import ADVICE, known_crystals, submitted_crystals
from vtc_flows.stores.submissions import (
    Claim,
    confirm_claims,
    make_claims,
    withdraw_claims,
)
from vtc_flows.workflow.analysis import structure_dict
from vtc_flows.workflow.firetask import RunJob
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.jobs import site_cluster
from vtc_flows.workflow.materials import OnProblem, structure_hash

#: What a worker can be held to by its ``category``.
SHORT, LONG, RECORDS = "vtc-site-short", "vtc-site-long", "vtc-records"

_RECORDS_PRIORITY = 10  # a record is a second's work, and then it is there

# Seconds of one core for a site with 30 atoms of 3 kinds, and how many times as long FEFF10 takes.
_SCF_S, _FMS_S, _FEFF10_FACTOR = 12.0, 1.0, 13.0
_LONG_S = 120.0
_WALLTIME_FACTOR, _LEAST_WALLTIME_H, _MOST_WALLTIME_H = 20.0, 1, 48  # recovery repeats steps

_BATCH = 100


@dataclass(frozen=True, eq=False)
class Submission:
    """
    What is to be done for a crystal.

    Attributes
    ----------
    record : StructureRecord
        The crystal.
    flows : dict of str to Flow
        For each absorber.
    claims : dict of str to tuple of Claim
        The records that the flow of each absorber makes.
    seconds : dict of str to float
        What each site job is expected to take, by its uuid.
    """

    record: StructureRecord
    flows: dict[str, Flow]
    claims: dict[str, tuple[Claim, ...]]
    seconds: dict[str, float]

    @property
    def n_sites(self) -> int:
        """Number of site jobs."""
        return sum(len(flow.jobs) - 1 for flow in self.flows.values())


@dataclass
class Submitted:
    """How much was submitted, and what was there already."""

    crystals: int = 0
    sites: int = 0
    records: int = 0
    records_there: int = 0


def prepare_submission(
    record: StructureRecord, elements: str | Sequence[str], maker: PolarizedXesFlowMaker
) -> tuple[Submission, list[VtcFlowsError]]:
    """
    Make the flows of a crystal.

    Parameters
    ----------
    record : StructureRecord
        The crystal.
    elements : sequence of str
        Absorbers, where the crystal holds them; all 3d metals if empty.
    maker : PolarizedXesFlowMaker
        Makes the flows.

    Returns
    -------
    submission : Submission
    problems : list of VtcFlowsError
        What cannot be done.
    """
    submission = Submission(record, {}, {}, {})
    structure = record.structure
    try:
        validate(structure)
    except VtcFlowsError as error:
        return submission, [error]
    problems = []
    for element in absorbers(structure):
        if elements and element not in as_symbols(elements):
            continue
        try:
            seconds = []
            for orbit in site_orbits(structure, element):
                cluster = site_cluster(structure, orbit.representative, maker.site_maker.settings)
                scf_radius(cluster, maker.site_maker.settings.n_scf_atoms)
                seconds.append(expected_seconds(cluster, maker))
            flow = maker.make(structure, element, record.material_id, source=record.source)
        except VtcFlowsError as error:
            problems.append(error)
            continue
        submission.flows[element] = flow
        submission.claims[element] = _claims(record, element, maker)
        sites = (job.uuid for job in flow.jobs[:-1])
        submission.seconds.update(zip(sites, seconds, strict=True))
    return submission, problems


def expected_seconds(cluster: Cluster, maker: PolarizedXesFlowMaker) -> float:
    """
    Return about how long a site takes on one core: good to a factor of a few.

    Potentials and multiple scattering both grow with the square of the number of atoms, as far as
    it goes here, and the potentials with the number of kinds of atoms.
    """
    settings: XesSettings = maker.site_maker.settings
    scf = _SCF_S * len(cluster.potentials) / 3 * (settings.n_scf_atoms / 30) ** 2
    fms = sum(_FMS_S * (size / 30) ** 2 for size in settings.fms_atoms)
    factor = _FEFF10_FACTOR if maker.site_maker.engine == "feff10" else 1.0
    return factor * (scf + fms)


def to_workflow(submission: Submission, *, name: str = "") -> Workflow:
    """
    Return the workflow of a crystal, which holds no address and no password.

    Parameters
    ----------
    submission : Submission
    name : str
        Of the submission, for its claims.
    """
    material_id = submission.record.material_id
    flow = Flow(list(submission.flows.values()), name=material_id)
    claims = [claim.key for claims in submission.claims.values() for claim in claims]
    metadata = {
        "material_id": material_id,
        "formula": submission.record.label,
        "elements": list(submission.flows),
        "source": submission.record.source,
        "claims": claims,
        "submission": name,
    }
    with warnings.catch_warnings():
        # elements have nothing to do with each other, and need no order
        warnings.filterwarnings("ignore", "Some jobs are not connected", UserWarning)
        workflow: Workflow = flow_to_workflow(flow, metadata=metadata)
    for firework in workflow.fws:
        _adapt(firework, submission.seconds)
    return workflow


def crystal_of_workflow(path: Path) -> KnownCrystal | None:
    """Return the crystal of a workflow's file; None where there is none that can be read."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    structure = _first_structure(content)
    if structure is None:
        return None
    metadata = content.get("metadata") or {}
    return KnownCrystal(structure, str(metadata.get("source") or ""), str(path))


def _first_structure(content: Any) -> Mapping[str, Any] | None:
    """Return the first structure inside of data."""
    if isinstance(content, Mapping):
        if {"lattice", "sites"} <= content.keys():
            return content
        content = list(content.values())
    if isinstance(content, list):
        return next((found for part in content if (found := _first_structure(part))), None)
    return None


def submit(
    launchpad: LaunchPad,
    database: MongoDatabase,
    submissions: Iterable[Submission],
    on_problem: OnProblem,
    *,
    again: bool = False,
) -> Iterator[Submitted]:
    """
    Add workflows to the launchpad, each record once.

    Parameters
    ----------
    launchpad : LaunchPad
        In the same database.
    database : Database
        Prepared.
    submissions : iterable of Submission
    on_problem : callable
        Called with what is refused.
    again : bool
        Submit also what was submitted before.

    Yields
    ------
    Submitted
        The sums so far, after each batch.

    Raises
    ------
    StorageError
        If the database is away or refuses.
    """
    name = uuid.uuid4().hex
    total = Submitted()
    batch: list[Submission] = []
    for submission in submissions:
        batch.append(submission)
        if len(batch) == _BATCH:
            _submit_batch(launchpad, database, batch, on_problem, name, total, again=again)
            batch.clear()
            yield total
    if batch:
        _submit_batch(launchpad, database, batch, on_problem, name, total, again=again)
    yield total


def _submit_batch(
    launchpad: LaunchPad,
    database: MongoDatabase,
    batch: Sequence[Submission],
    on_problem: OnProblem,
    name: str,
    total: Submitted,
    *,
    again: bool,
) -> None:
    batch = _with_own_ids(database, batch, on_problem)
    claims = [
        claim for submission in batch for some in submission.claims.values() for claim in some
    ]
    if again:
        withdraw_claims(database, claims)
    decisions = make_claims(database, claims, name)
    chosen: list[Submission] = []
    confirmed: list[Claim] = []
    for submission in batch:
        for element, some in list(submission.claims.items()):
            ours = [claim for claim in some if decisions[claim] == "ours"]
            taken = any(decisions[claim] == "other crystal" for claim in some)
            if ours and not taken:  # the sizes of a flow are made together
                total.records += len(ours)
                confirmed += ours
                continue
            del submission.claims[element], submission.flows[element]
            if taken:
                withdraw_claims(database, ours)
                on_problem(submission.record.source, _taken(submission.record, element))
            else:
                total.records_there += len(some)
        if submission.flows:
            chosen.append(submission)
            total.crystals += 1
            total.sites += submission.n_sites
    if not chosen:
        return
    workflows = [to_workflow(submission, name=name) for submission in chosen]
    with database_errors(database), contextlib.redirect_stderr(io.StringIO()):  # a bar per batch
        launchpad.bulk_add_wfs(workflows)
    confirm_claims(database, confirmed, name)


def _with_own_ids(
    database: MongoDatabase, batch: Sequence[Submission], on_problem: OnProblem
) -> list[Submission]:
    """Return what may be submitted under its id, and tell of crystals whose id is another's."""
    names = [submission.record.material_id for submission in batch]
    known, submitted = known_crystals(database, names), submitted_crystals(database, names)
    kept = []
    for submission in batch:
        record = submission.record
        there = known.get(record.material_id, [])
        try:
            require_same_crystal(
                record.material_id,
                structure_dict(record.structure),
                record.source,
                there,
                advice=ADVICE,
            )
            if not there:
                _require_the_submitted(record, submitted.get(record.material_id, {}))
            kept.append(submission)
        except InputError as error:
            on_problem(record.source, error)
    return kept


def _require_the_submitted(record: StructureRecord, submitted: Mapping[str, str]) -> None:
    """Refuse another crystal than the one that was submitted under its id, with any settings."""
    if submitted and structure_hash(record.structure) not in submitted:
        source = next(iter(submitted.values())) or "a source unknown"
        raise InputError(
            f"{record.source} is another structure than the one that was submitted as "
            f"{record.material_id} (that of {source}): {ADVICE}"
        )


def _taken(record: StructureRecord, element: str) -> InputError:
    return InputError(
        f"{record.material_id} {element} was submitted before with another structure of the same "
        "name, which has been replaced since: submit it with --again"
    )


def _claims(
    record: StructureRecord, element: str, maker: PolarizedXesFlowMaker
) -> tuple[Claim, ...]:
    settings = maker.site_maker.settings
    crystal = structure_hash(record.structure)
    return tuple(
        Claim(
            record.material_id,
            element,
            maker.site_maker.engine,
            size,
            settings_hash(settings.for_size(size), maker.sams_settings),
            crystal,
            current_revision(maker.site_maker.engine),
            record.source,
        )
        for size in settings.fms_atoms
    )


def _adapt(firework: Firework, seconds: dict[str, float]) -> None:
    """Let a firework run our task, and say what it needs."""
    (task,) = firework.tasks
    job = task["job"]
    firework.tasks = [RunJob(job=job, store=None)]
    if job.uuid not in seconds:
        firework.spec.update(_category=RECORDS, _priority=_RECORDS_PRIORITY)
        hours = _LEAST_WALLTIME_H
    else:
        firework.spec["_category"] = LONG if seconds[job.uuid] > _LONG_S else SHORT
        hours = math.ceil(_WALLTIME_FACTOR * seconds[job.uuid] / 3600)
    hours = min(max(hours, _LEAST_WALLTIME_H), _MOST_WALLTIME_H)
    firework.spec["_queueadapter"] = {"walltime": f"{hours:02d}:00:00"}
