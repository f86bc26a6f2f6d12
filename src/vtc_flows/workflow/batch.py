"""Run many materials: what there is to do, then one record after the other."""

from __future__ import annotations

import multiprocessing
import queue
import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path
from types import FrameType

from jobflow import JobStore, run_locally
from maggma.stores import MemoryStore

from vtc_flows.crystal.clusters import scf_radius
from vtc_flows.crystal.sites import site_orbits
from vtc_flows.crystal.sources import StructureRecord
from vtc_flows.errors import EngineCrashError, InputError, StorageError, VtcFlowsError
from vtc_flows.schemas import (
    KnownCrystal,
    SamsRecord,
    SamsSettings,
    XesSettings,
    require_same_crystal,
)
from vtc_flows.workflow.analysis import structure_dict
from vtc_flows.workflow.flows import PolarizedXesFlowMaker
from vtc_flows.workflow.inputs import chosen_elements, load_all
from vtc_flows.workflow.jobs import SiteXesMaker, site_cluster
from vtc_flows.workflow.progress import Listener, SiteEvent, listening

_POLL_S = 0.2


@dataclass(frozen=True, eq=False)
class Task:
    """One absorbing element of one structure, and how many sites it takes."""

    record: StructureRecord
    element: str
    n_sites: int


#: What a task gives: its records, or why there are none.
Outcome = list[SamsRecord] | VtcFlowsError

#: A task, and how it is done.
Work = tuple[Task, PolarizedXesFlowMaker]


@dataclass(frozen=True, eq=False)
class Plan:
    """
    What there is to do.

    Attributes
    ----------
    tasks : tuple of Task
        In the order of the input.
    problems : tuple of (str, VtcFlowsError)
        What cannot be done: the input it comes from, and why.
    """

    tasks: tuple[Task, ...]
    problems: tuple[tuple[str, VtcFlowsError], ...]


def plan(
    specs: str | Sequence[str],
    elements: str | Sequence[str],
    settings: XesSettings,
    **keys: str,
) -> Plan:
    """
    Find out what there is to do, and what cannot be done, before the long part begins.

    Parameters
    ----------
    specs : sequence of str
        Files and ids; see `load_structures`.
    elements : sequence of str
        Absorbers; all 3d metals of each structure if empty.
    settings : XesSettings
        Cluster sizes; sites that cannot have them are refused here.
    **keys
        ``mp_api_key``, for ids.
    """
    records, problems = load_all(specs, mp_api_key=keys.get("mp_api_key"))
    found = plan_records(records, elements, settings)
    return Plan(found.tasks, (*problems, *found.problems))


def plan_records(
    records: Sequence[StructureRecord], elements: str | Sequence[str], settings: XesSettings
) -> Plan:
    """Find out what there is to do for crystals that were read; see `plan`."""
    tasks: list[Task] = []
    problems: list[tuple[str, VtcFlowsError]] = []
    for record in records:
        try:
            for element in chosen_elements(record, elements):
                orbits = site_orbits(record.structure, element)
                for orbit in orbits:
                    cluster = site_cluster(record.structure, orbit.representative, settings)
                    scf_radius(cluster, settings.n_scf_atoms)
                tasks.append(Task(record, element, len(orbits)))
        except VtcFlowsError as error:
            problems.append((record.source, error))
    return Plan(tuple(tasks), tuple(problems))


def refuse_other_crystals(
    found: Plan, known: Callable[[str], Iterable[KnownCrystal]], *, advice: str
) -> Plan:
    """
    Refuse crystals whose ids are other crystals' where the results are to go.

    Parameters
    ----------
    found : Plan
    known : callable
        Returns the crystals that have an id there.
    advice : str
        What to do instead.

    Returns
    -------
    Plan
        Without the tasks of such crystals, and with the problems.
    """
    refused: dict[str, InputError] = {}
    sources: dict[str, str] = {}
    for task in found.tasks:
        record = task.record
        if record.material_id in sources:
            continue
        sources[record.material_id] = record.source
        try:
            require_same_crystal(
                record.material_id,
                structure_dict(record.structure),
                record.source,
                known(record.material_id),
                advice=advice,
            )
        except InputError as error:
            refused[record.material_id] = error
    tasks = tuple(task for task in found.tasks if task.record.material_id not in refused)
    problems = [(sources[name], error) for name, error in refused.items()]
    return Plan(tasks, (*found.problems, *problems))


def keeping_maker(
    engine: str, settings: XesSettings, sams_settings: SamsSettings, cache_directory: Path
) -> PolarizedXesFlowMaker:
    """Return a maker whose finished sites are kept in a folder, and found there again."""
    return PolarizedXesFlowMaker(
        site_maker=SiteXesMaker(
            engine=engine, settings=settings, cache_directory=str(cache_directory)
        ),
        sams_settings=sams_settings,
    )


def run_task(task: Task, maker: PolarizedXesFlowMaker) -> list[SamsRecord]:
    """
    Run one element of one structure here and now.

    Returns
    -------
    list of SamsRecord
        One for each FMS size; a failed site makes a record incomplete and does not raise.
    """
    record = task.record
    flow = maker.make(record.structure, task.element, record.material_id, source=record.source)
    store = JobStore(MemoryStore(), additional_stores={"data": MemoryStore()})
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "cd is deprecated", FutureWarning)  # jobflow's own
        responses = run_locally(flow, store=store, log=False, raise_immediately=True)
    output = responses[flow.jobs[-1].uuid][1].output
    return list(output.records)


def run_tasks(
    tasks: Sequence[Task], maker: PolarizedXesFlowMaker, *, workers: int, listener: Listener
) -> Iterator[tuple[Task, Outcome]]:
    """
    Run tasks and yield each result as it is ready.

    Parameters
    ----------
    tasks : sequence of Task
        What to do.
    maker : PolarizedXesFlowMaker
        How.
    workers : int
        Processes; with 1 everything runs in this one.
    listener : callable
        Told each step of each site.

    Yields
    ------
    task : Task
    result : list of SamsRecord or VtcFlowsError
        Its records, or why there are none.

    Raises
    ------
    StorageError
        If results cannot be stored: there is no use in going on.
    """
    work = [(task, maker) for task in tasks]
    for number, outcome in run_work(work, workers=workers, listener=listener):
        yield tasks[number], outcome


def run_work(
    work: Sequence[Work], *, workers: int, listener: Listener
) -> Iterator[tuple[int, Outcome]]:
    """
    Run tasks, each with the maker beside it, and yield the place of each with its result.

    Parameters, errors and results as of `run_tasks`.
    """
    if workers == 1:
        with listening(listener):
            for number, (task, maker) in enumerate(work):
                yield number, _outcome(task, maker)
    else:
        yield from _run_in_pool(work, workers, listener)


def _outcome(task: Task, maker: PolarizedXesFlowMaker) -> Outcome:
    try:
        return run_task(task, maker)
    except StorageError:
        raise
    except VtcFlowsError as error:
        return error
    except Exception as error:  # a bug that one material meets must not lose the others
        text = str(error).strip().splitlines()
        failure = VtcFlowsError(
            f"{task.record.material_id} {task.element}: unexpected {type(error).__name__}: "
            f"{text[0] if text else 'no message'} (`vtc --debug ...` shows where; please report it)"
        )
        failure.add_note(traceback.format_exc())  # notes survive the way between processes
        return failure


def _run_in_pool(
    work: Sequence[Work], workers: int, listener: Listener
) -> Iterator[tuple[int, Outcome]]:
    context = multiprocessing.get_context("spawn")
    events: Queue[SiteEvent] = context.Queue()
    executor = ProcessPoolExecutor(
        min(workers, len(work)), context, initializer=_enter_worker, initargs=(events,)
    )
    waiting: dict[Future[Outcome], int] = {}
    try:
        waiting = {executor.submit(_outcome, *each): number for number, each in enumerate(work)}
        while waiting:
            finished, _ = wait(waiting, timeout=_POLL_S, return_when=FIRST_COMPLETED)
            _drain(events, listener)
            for future in finished:
                yield waiting.pop(future), _result(future)
    finally:
        if waiting:  # interrupted or failed: end what still runs, with its FEFF processes
            for child in multiprocessing.active_children():
                child.terminate()
        executor.shutdown(wait=True, cancel_futures=True)
        events.close()


def _result(future: Future[Outcome]) -> Outcome:
    try:
        return future.result()
    except BrokenProcessPool:
        raise EngineCrashError(
            "a worker process was killed, perhaps for want of memory: finished sites are kept; run "
            "again, with fewer workers, to go on from there"
        ) from None


def _drain(events: Queue[SiteEvent], listener: Listener) -> None:
    while True:
        try:
            listener(events.get_nowait())
        except queue.Empty:
            return


def _enter_worker(events: Queue[SiteEvent]) -> None:
    """Prepare a worker process: events go home, and only the main process decides the end."""
    listening(events.put).__enter__()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)


def _leave(_number: int, _frame: FrameType | None) -> None:
    sys.exit(1)  # as an exception, so that run folders are cleared
