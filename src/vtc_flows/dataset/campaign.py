"""
Site after site of many crystals, in a given order, without a database.

What is finished is known from the folder of :mod:`vtc_flows.dataset.shards`; the same call goes on
from there. One process looks after several workers at once: the work is done in forks of its own.
"""

from __future__ import annotations

import csv
import gzip
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from pymatgen.core.structure import Structure

from vtc_flows.crystal.sites import SiteOrbit, site_orbits
from vtc_flows.dataset.rows import row_of
from vtc_flows.dataset.shards import Row, SiteShards
from vtc_flows.errors import InputError, StorageError, VtcFlowsError
from vtc_flows.feff.registry import create_engine
from vtc_flows.schemas import SiteXesDoc, XesSettings
from vtc_flows.settings import load_settings
from vtc_flows.workflow.jobs import SiteXesMaker
from vtc_flows.workflow.progress import SiteEvent, listening

#: Every so many records of the training part are computed with the larger cluster, too.
LARGER_EVERY = 10
_SMALL, _BOTH = (30,), (30, 80)
TRAINING = "train"


@dataclass(frozen=True)
class Record:
    """One line of the order: an element of a crystal."""

    rank: int
    material_id: str
    element: str
    part: str

    @property
    def settings(self) -> XesSettings:
        """Return the cluster sizes: both for all but most of the training part."""
        both = self.part != TRAINING or self.rank % LARGER_EVERY == 0
        return XesSettings(fms_atoms=_BOTH if both else _SMALL)


@dataclass(frozen=True, eq=False)
class Site:
    """One site to compute."""

    record: Record
    structure: Structure
    orbit: SiteOrbit

    @property
    def key(self) -> tuple[str, str, int]:
        """Return what it is called."""
        return self.record.material_id, self.record.element, self.orbit.representative


class Stopped(BaseException):
    """Ends a site from within when the campaign is to end; not an error of the site."""


def read_order(path: Path) -> list[Record]:
    """
    Return the records of an order: CSV, perhaps gzipped, with rank, material_id, element and part.

    Raises
    ------
    InputError
        If a column is missing.
    """
    with _text(path) as stream:
        try:
            return [
                Record(int(row["rank"]), row["material_id"], row["element"], row["part"])
                for row in csv.DictReader(stream)
            ]
        except KeyError as error:
            raise InputError(
                f"{path} has no column {error.args[0]}: it needs rank, material_id, element and "
                "part"
            ) from None


def read_structures(path: Path) -> dict[str, str]:
    """Return the lines of a file of JSON lines, perhaps gzipped, by their ``id``."""
    with _text(path) as stream:
        return {_id_of(line): line for line in stream}


def _text(path: Path) -> IO[str]:
    if path.suffix == ".gz":
        return cast("IO[str]", gzip.open(path, "rt"))
    return path.open()


def _id_of(line: str) -> str:
    found = json.loads(line)
    return str(found.get("id") or found["material_id"])


class Campaign:
    """
    A campaign's share of work.

    Parameters
    ----------
    records : list of Record
        In the order in which they are to be computed.
    structures : dict of str to str
        Lines of JSON by material.
    shards : SiteShards
        Where finished sites go.
    share : (k, n)
        Of n processes that share the records this is the k-th, from 1.
    engine : str
        Name of the engine.
    """

    def __init__(
        self,
        records: list[Record],
        structures: dict[str, str],
        shards: SiteShards,
        share: tuple[int, int] = (1, 1),
        engine: str = "feff8l",
    ) -> None:
        self._records = records[share[0] - 1 :: share[1]]
        self._structures = structures
        self._shards = shards
        self._engine = engine
        self._stop = threading.Event()
        self._identity = create_engine(engine, load_settings()).identity()

    def stop(self) -> None:
        """Let :meth:`run` come to its end; sites that are not finished are given up."""
        self._stop.set()

    def sites(self, on_problem: Callable[[Record, Exception], None]) -> Iterator[Site]:
        """Yield the sites that are still to be computed."""
        done = self._shards.known(self._identity)
        for record in self._records:
            try:
                line = self._structures[record.material_id]
            except KeyError:
                on_problem(record, InputError(f"there is no structure {record.material_id}"))
                continue
            structure = Structure.from_dict(json.loads(line)["structure"])
            try:
                orbits = site_orbits(structure, record.element)
            except VtcFlowsError as error:
                on_problem(record, error)
                continue
            for orbit in orbits:
                site = Site(record, structure, orbit)
                if site.key not in done:
                    yield site

    def run(
        self,
        workers: int,
        *,
        on_site: Callable[[Site, Row], None],
        on_problem: Callable[[Record, Exception], None],
        most: int | None = None,
    ) -> None:
        """
        Compute sites until none is left.

        Parameters
        ----------
        workers : int
            Sites at a time.
        on_site : callable
            Told each finished site, and its row.
        on_problem : callable
            Told what cannot be computed.
        most : int, optional
            Sites after which to end.

        Raises
        ------
        StorageError
            If results cannot be written.
        """
        todo = self.sites(on_problem)
        waiting: dict[Future[SiteXesDoc], Site] = {}
        started = 0
        with ThreadPoolExecutor(workers) as pool:
            try:
                while not self._stop.is_set():
                    while len(waiting) < workers and (most is None or started < most):
                        site = next(todo, None)
                        if site is None:
                            break
                        waiting[pool.submit(self._compute, site)] = site
                        started += 1
                    if not waiting:
                        break
                    finished, _ = wait(waiting, timeout=0.5, return_when=FIRST_COMPLETED)
                    for future in finished:
                        self._take(waiting.pop(future), future, on_site, on_problem)
            finally:
                self._stop.set()
                self._shards.close()

    def _compute(self, site: Site) -> SiteXesDoc:
        def listen(_event: SiteEvent) -> None:
            if self._stop.is_set():
                raise Stopped

        record = site.record
        maker = SiteXesMaker(engine=self._engine, settings=record.settings)
        with listening(listen):
            return maker.compute(
                site.structure,
                site.orbit.representative,
                record.material_id,
                multiplicity=site.orbit.multiplicity,
            )

    def _take(
        self,
        site: Site,
        future: Future[SiteXesDoc],
        on_site: Callable[[Site, Row], None],
        on_problem: Callable[[Record, Exception], None],
    ) -> None:
        try:
            document = future.result()
        except Stopped:
            return
        except StorageError:
            raise
        except Exception as error:  # a bug that one site meets must not lose the others
            on_problem(site.record, error)
            return
        row = row_of(
            document,
            site.orbit,
            part=site.record.part,
            rank=site.record.rank,
            engine=self._identity,
        )
        self._shards.add(row)
        on_site(site, row)
