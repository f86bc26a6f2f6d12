"""`vtc compare`: two engines, presets or folders of results on the same sites."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from vtc_flows.cli import options
from vtc_flows.cli.calculation import interruptible, sams_settings_for, xes_settings
from vtc_flows.cli.comparison_tables import LEGEND, print_comparison
from vtc_flows.cli.display import (
    SiteProgress,
    console,
    logs_as_lines,
    print_problems,
    print_remarks,
    say,
)
from vtc_flows.cli.engine import ready_engine
from vtc_flows.cli.folder import require_writable
from vtc_flows.cli.lazy import BAD_INPUT, FAILED
from vtc_flows.cli.results import (
    SITES_FOLDER,
    require_comparisons,
    with_own_names,
    write_comparison_pictures,
    write_comparisons,
)
from vtc_flows.cli.sides import DEFAULT_PRESET, Computed, Side, Stored, read_sides
from vtc_flows.errors import InputError, StorageError, VtcFlowsError
from vtc_flows.schemas import SamsRecord, SamsSettings, XesSettings
from vtc_flows.schemas.comparison import RecordComparison
from vtc_flows.settings import VtcSettings, load_settings
from vtc_flows.workflow.batch import Outcome, Task, Work, keeping_maker, plan, run_work
from vtc_flows.workflow.compare import (
    compare_records,
    pair_records,
    pair_sizes,
    require_same_sams,
)
from vtc_flows.workflow.flows import PolarizedXesFlowMaker

#: Options that say how something is computed.
_COMPUTING = (
    *("fms_atoms", "scf_atoms", "energies", "valence_bottom"),
    *("core_hole", "window", "fwhm"),
)

Problems = list[tuple[str, VtcFlowsError]]


@dataclass(frozen=True)
class Subject:
    """One element of one material; its task where something is computed."""

    material_id: str
    element: str
    source: str
    task: Task | None

    @property
    def key(self) -> tuple[str, str]:
        """What its records are found by."""
        return self.material_id, self.element


@click.command()
@click.argument("side_a", metavar="A")
@click.argument("side_b", metavar="B")
@click.argument("structures", nargs=-1, metavar="STRUCTURE...")
@options.elements
@options.spectra
@options.install_engine
@options.workers
@options.out("vtc-compare")
@options.plot
@options.as_json
def compare(
    side_a: str,
    side_b: str,
    structures: tuple[str, ...],
    elements: tuple[str, ...],
    **given: Any,
) -> None:
    """
    Compare two engines or presets on the same sites.

    A and B are each an ENGINE (feff8l, feff10 or package.module:factory), a PRESET (seed or
    converged), both as ENGINE:PRESET, or a FOLDER of results of `vtc run`; what is not said is
    feff8l and seed. STRUCTURE is as for `vtc run`; between two folders it may be left out.

    Finished sites are kept in the folder of results; the same command goes on where it stopped.

    Exit code 0: all done. 1: a calculation failed. 2: an input could not be used. 130:
    interrupted.
    """
    sides = read_sides(side_a, side_b, given)
    computed = [side for side in sides if isinstance(side, Computed)]
    _require_use(computed, structures)
    settings = _covering(computed, given)
    sams_settings = sams_settings_for(settings, given)
    machine = load_settings()
    _require_engines(computed, machine, install_if_missing=given["install_engine"])
    folder: Path = given["out"].absolute()
    subjects, problems = _subjects(sides, structures, elements, settings, machine, folder)
    subjects, impossible = _possible(subjects, sides, sams_settings)
    problems += impossible
    print_problems(problems)
    if subjects:
        require_writable(folder)
        require_comparisons(folder)
    results = _Results(
        sides,
        subjects,
        folder,
        plot=given["plot"],
        as_json=given["as_json"],
        refused=bool(problems),
    )
    makers = [_maker(side, sams_settings, folder) for side in sides]
    _run(subjects, makers, results, given["workers"])
    results.finish(debug=bool(click.get_current_context().find_root().params.get("debug")))


def _require_use(computed: Sequence[Computed], structures: Sequence[str]) -> None:
    """Refuse a command that lacks structures, or has options without an effect."""
    context = click.get_current_context()
    if computed:
        if not structures:
            raise click.UsageError("Missing argument 'STRUCTURE...'", context)
        return
    for name in _COMPUTING:
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            option = f"--{name.replace('_', '-')}"
            raise click.UsageError(f"{option} has no effect between two folders", context)


def _covering(computed: Sequence[Computed], given: Mapping[str, Any]) -> XesSettings:
    """Return the settings of what is computed, with the cluster sizes of both sides."""
    settings = [side.settings for side in computed] or [xes_settings(DEFAULT_PRESET, given)]
    sizes = {size for each in settings for size in each.fms_atoms}
    return settings[0].model_copy(update={"fms_atoms": tuple(sorted(sizes))})


def _require_engines(
    computed: Sequence[Computed], machine: VtcSettings, *, install_if_missing: bool
) -> None:
    made = []
    for side in computed:
        engine = ready_engine(side.engine, machine, install_if_missing=install_if_missing)
        made.append((engine.identity(), side.settings))
    if len(made) == 2 and made[0] == made[1]:
        # the kept sites of one would pass for those of the other
        raise InputError(
            f"the engines {computed[0].engine} and {computed[1].engine} are one: both call "
            f"themselves {made[0][0]}"
        )


def _subjects(
    sides: tuple[Side, Side],
    structures: Sequence[str],
    elements: Sequence[str],
    settings: XesSettings,
    machine: VtcSettings,
    folder: Path,
) -> tuple[list[Subject], Problems]:
    """Return what is to be compared, and what of the input cannot be used."""
    if not structures:
        in_both = set.intersection(*(set(side.files) for side in sides if isinstance(side, Stored)))
        keys = sorted(key for key in in_both if not elements or key[1] in elements)
        if not keys:
            raise InputError("A and B hold no record of the same element in the same material")
        return [Subject(*key, source=key[0], task=None) for key in keys], []
    key = machine.mp_api_key
    todo = plan(structures, elements, settings, mp_api_key=key.get_secret_value() if key else "")
    todo = with_own_names(todo, folder)
    print_remarks(task.record for task in todo.tasks)
    subjects = [
        Subject(task.record.material_id, task.element, task.record.source, task)
        for task in todo.tasks
    ]
    return subjects, list(todo.problems)


def _possible(
    subjects: Sequence[Subject], sides: tuple[Side, Side], sams_settings: SamsSettings
) -> tuple[list[Subject], Problems]:
    """Return what can be compared, and why the rest cannot, before the long part begins."""
    possible: list[Subject] = []
    problems: Problems = []
    for subject in subjects:
        try:
            _require_fitting_records(subject, sides, sams_settings)
            possible.append(subject)
        except InputError as error:
            problems.append((subject.source, error))
    return possible, problems


def _require_fitting_records(
    subject: Subject, sides: tuple[Side, Side], sams_settings: SamsSettings
) -> None:
    what = " ".join(subject.key)
    sizes: list[Sequence[int]] = []
    evaluations: list[SamsSettings] = []
    for side in sides:
        if isinstance(side, Computed):
            sizes.append(side.settings.fms_atoms)
            evaluations.append(sams_settings)
        else:
            records = side.records(subject.key)
            sizes.append([record.fms_atoms for record in records])
            evaluations.append(records[0].sams_settings)
    pair_sizes(sizes[0], sizes[1], what)
    require_same_sams(evaluations[0], evaluations[1], what)


def _maker(side: Side, sams_settings: SamsSettings, folder: Path) -> PolarizedXesFlowMaker | None:
    if isinstance(side, Stored):
        return None
    return keeping_maker(side.engine, side.settings, sams_settings, folder / SITES_FOLDER)


def _run(
    subjects: Sequence[Subject],
    makers: Sequence[PolarizedXesFlowMaker | None],
    results: _Results,
    workers: int,
) -> None:
    """Compute what is not there, and hand over each subject as soon as both sides are ready."""
    work: list[Work] = []
    whose: list[tuple[int, int]] = []
    for number, subject in enumerate(subjects):
        for side, maker in enumerate(makers):
            if maker is not None and subject.task is not None:
                work.append((subject.task, maker))
                whose.append((number, side))
    if not work:
        for number in range(len(subjects)):
            results.add(number, {})
        return
    n_computed = sum(maker is not None for maker in makers)
    waiting: dict[int, dict[int, Outcome]] = {}
    with (
        logs_as_lines(),
        interruptible(results.interrupted),
        SiteProgress(sum(task.n_sites for task, _ in work)) as bar,
    ):
        for place, outcome in run_work(work, workers=workers, listener=bar.tell):
            number, side = whose[place]
            outcomes = waiting.setdefault(number, {})
            outcomes[side] = outcome
            if len(outcomes) == n_computed:
                with bar.hidden():
                    results.add(number, waiting.pop(number))


@dataclass
class _Results:
    """What came out so far, on disk as soon as it is there."""

    sides: tuple[Side, Side]
    subjects: Sequence[Subject]
    folder: Path
    plot: bool
    as_json: bool
    refused: bool
    n_finished: int = 0
    _comparisons: dict[int, list[RecordComparison]] = field(default_factory=dict)
    _problems: Problems = field(default_factory=list)

    def add(self, number: int, outcomes: Mapping[int, Outcome]) -> None:
        """Take in what was computed of a subject, by the number of its side."""
        self.n_finished += 1
        subject = self.subjects[number]
        try:
            a, b = (
                side.records(subject.key) if isinstance(side, Stored) else _records(outcomes[index])
                for index, side in enumerate(self.sides)
            )
            pairs = [(compare_records(*pair), pair) for pair in pair_records(a, b)]
            write_comparisons(self.folder, [comparison for comparison, _ in pairs])
        except StorageError:
            raise
        except VtcFlowsError as error:
            self._problems.append((subject.source, error))
            return
        target = console(error_stream=self.as_json)
        for comparison, (record_a, record_b) in pairs:
            if self.plot:
                write_comparison_pictures(self.folder, comparison, record_a, record_b)
            print_comparison(comparison, target)
        self._comparisons[number] = [comparison for comparison, _ in pairs]

    def interrupted(self) -> str:
        """Return what to say where the command is interrupted."""
        return (
            f"{self.n_finished} of {len(self.subjects)} comparisons are finished, finished sites "
            f"are kept in {self.folder / SITES_FOLDER}"
        )

    def finish(self, *, debug: bool) -> None:
        """Print what programs want to see and what went wrong; end with the right exit code."""
        found = [each for number in sorted(self._comparisons) for each in self._comparisons[number]]
        if self.as_json:
            click.echo(json.dumps([each.model_dump(mode="json") for each in found]))
        if found:
            target = console(error_stream=self.as_json)
            target.print()
            for line in LEGEND:
                target.print(line, soft_wrap=True)
            say(f"results are in {self.folder}")
        print_problems(self._problems, debug=debug)
        failed = any(each.state == "incomplete" for each in found)
        if failed or any(not isinstance(error, InputError) for _, error in self._problems):
            raise click.exceptions.Exit(FAILED)
        if self._problems or self.refused:
            raise click.exceptions.Exit(BAD_INPUT)


def _records(outcome: Outcome) -> list[SamsRecord]:
    if isinstance(outcome, VtcFlowsError):
        raise outcome
    return outcome
