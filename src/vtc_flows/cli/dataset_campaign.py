"""`vtc campaign`: many crystals in a given order, site by site, into a data set."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from types import FrameType
from typing import Any

import click

from vtc_flows.cli import options
from vtc_flows.cli.display import say
from vtc_flows.cli.engine import ready_engine
from vtc_flows.cli.lazy import INTERRUPTED
from vtc_flows.dataset.campaign import Campaign, Record, Site, read_order, read_structures
from vtc_flows.dataset.shards import Row, SiteShards
from vtc_flows.errors import InputError
from vtc_flows.settings import load_settings

_TOLD_EVERY_S = 60.0


@click.command("campaign")
@click.argument("structures", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("order", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@options.workers_that("Sites at a time, each in a process of its own.")
@click.option("--shard", metavar="K/N", default="1/1", help="Of N shares of the order, the K-th.")
@click.option("--most", type=click.IntRange(1), metavar="N", help="End after N sites.")
@click.option("--nice", type=click.IntRange(0, 19), default=19, show_default=True, help="Priority.")
@options.engine
@options.out("data/sites")
def campaign(structures: Path, order: Path, **given: Any) -> None:
    """
    Compute the sites of many crystals in a given order.

    STRUCTURES are JSON lines with "id" and "structure", ORDER is CSV with rank, material_id,
    element and part; both may be gzipped. Finished sites go into Parquet files of the folder; the
    same command goes on where it stopped, however it was stopped. The 30 nearest neighbors are in
    the multiple scattering, and for all parts but "train", and every tenth record of that, 80 as
    well.

    Exit code 0: all done. 130: interrupted.
    """
    share = _share(given["shard"])
    os.nice(given["nice"])
    ready_engine(given["engine"], load_settings(), install_if_missing=given["install_engine"])
    shards = SiteShards(given["out"].absolute(), given["shard"].replace("/", "of"))
    work = Campaign(
        read_order(order), read_structures(structures), shards, share,
        engine=given["engine"],
    )  # fmt: skip
    told = _Told()
    interrupted = False

    def stop(_number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted = True
        work.stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    work.run(given["workers"], on_site=told.site, on_problem=told.problem, most=given["most"])
    told.say()
    if interrupted:
        say("interrupted: finished sites are kept, the same command goes on from there")
        raise click.exceptions.Exit(INTERRUPTED)


def _share(text: str) -> tuple[int, int]:
    try:
        k, n = (int(part) for part in text.split("/"))
    except ValueError:
        k = n = 0
    if not 1 <= k <= n:
        raise InputError(f"--shard {text}: write the share and their number, as 1/2")
    return k, n


class _Told:
    """Counts what comes, and says so every minute."""

    def __init__(self) -> None:
        self._start = self._last = time.monotonic()
        self._states: Counter[str] = Counter()
        self._cpu_s = 0.0

    def site(self, site: Site, row: Row) -> None:
        self._states[row["reason"] or "successful"] += 1
        self._cpu_s += row["cpu_s"] or 0.0
        self._rank = site.record.rank
        if time.monotonic() - self._last > _TOLD_EVERY_S:
            self.say()

    def problem(self, record: Record, error: Exception) -> None:
        say(f"{record.material_id} {record.element}: {error}")

    def say(self) -> None:
        self._last = time.monotonic()
        total = sum(self._states.values())
        if not total:
            say("no site was left to do")
            return
        hours = (self._last - self._start) / 3600
        states = ", ".join(f"{count} {state}" for state, count in self._states.most_common())
        say(
            f"rank {self._rank}: {total} sites ({states}), {total / hours:.0f} an hour, "
            f"{self._cpu_s / total:.1f} CPU s each"
        )
