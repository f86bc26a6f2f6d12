"""
What is tried, in order and always from scratch, when a run gives no usable spectrum.

A restart from half-converged potentials can settle on another solution; a fresh start with
gentler settings does not. So every try gets the whole input and an empty folder.

Custodian runs the tries: a job of ours is one try, and handlers of ours, one for each family of
failures, choose what comes next from the reason that the try gave. Custodian's own handlers for
FEFF are not used: they know of one failure only, look for it in one file, and restart.
"""

from __future__ import annotations

import dataclasses
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Generic, Literal, TypeVar

from vtc_flows.errors import Attempt, ClusterError, EngineError, StorageError
from vtc_flows.feff.run_folder import watched_scratch
from vtc_flows.feff.site_input import FEFF8L_LIMITS, Limits, ScfControl, SiteInput

# Custodian, when it is imported, starts to report to the address in this variable, which belongs to
# other programs, and fails where the package for that is missing.
_sentry = os.environ.pop("SENTRY_DSN", None)
try:
    from custodian.custodian import Custodian, CustodianError, ErrorHandler, Job
finally:
    if _sentry is not None:
        os.environ["SENTRY_DSN"] = _sentry

T = TypeVar("T")
Change = Callable[[SiteInput], SiteInput]
Remedy = Literal["ladder", "again", "fail"]

#: What follows a failure, by its reason code: the next step that can help, the same once more
#: (what killed a process or cut its output need not come back), or the end.
REMEDIES: Mapping[str, Remedy] = MappingProxyType(
    {
        "scf_not_converged": "ladder",
        "bad_counts": "ladder",
        "valence_assignment": "ladder",
        "second_solution": "ladder",
        "crash": "ladder",
        "error_file": "ladder",
        "killed": "again",
        "scratch_lost": "again",
        "output_missing": "again",
        "output_stale": "again",
        "output_truncated": "again",
        "output_not_finite": "again",
        "wrong_grid": "again",
        "negative_spectrum": "ladder",
        "zero_spectrum": "ladder",
        "tensor_not_positive": "ladder",
        "asymmetric_tensor": "ladder",
        "timeout": "fail",
        "bad_input": "fail",
        "program_missing": "fail",
        "stack_limit": "fail",
        "overlap_limit": "fail",
        "bad_output": "fail",
        "engine_error": "fail",
    }
)
LADDER_REASONS = frozenset(reason for reason, remedy in REMEDIES.items() if remedy == "ladder")
_POTENTIALS = frozenset(
    {
        *("scf_not_converged", "bad_counts", "valence_assignment", "second_solution"),
        *("crash", "error_file"),
    }
)

_LEAST_ITERATIONS = 100
_MORE_PLAIN = 4  # iterations; Broyden's first steps overshoot
_RAMP_START = 0.6  # of the radius of the self-consistency
_DEEPER_FLOOR_EV = -100.0  # FEFF10's own is -70, which misses selenium's 3d
_SMALLER_OVERLAP = 1.05


@dataclass(frozen=True)
class Step:
    """
    One rung of a ladder.

    Attributes
    ----------
    name : str
        As documents hold it.
    change : callable
        From the site as it was asked for to the site as it is tried.
    cures : frozenset of str
        Reason codes of the failures after which the step is worth its time.
    """

    name: str
    change: Change
    cures: frozenset[str] = LADDER_REASONS


@dataclass(frozen=True)
class Recovered(Generic[T]):
    """
    What came of a site, and how.

    Attributes
    ----------
    value : object
        What the try that worked returned.
    step : str
        Its step, "none" for the first.
    attempts : tuple of Attempt
        The tries before it, which failed.
    site : SiteInput
        The site as the try had it.
    folder : Path
        The folder of the try.
    """

    value: T
    step: str
    attempts: tuple[Attempt, ...]
    site: SiteInput
    folder: Path


def _scf(change: Callable[[ScfControl], ScfControl]) -> Change:
    """Make a step of a change of the self-consistency; none where there is none of it."""

    def changed(site: SiteInput) -> SiteInput:
        return replace(site, scf=change(site.scf)) if site.scf.max_iterations else site

    return changed


def _unless_given(card: str, change: Change) -> Change:
    """Leave a site as it is where its own feff.inp has the card that the step would write."""

    def changed(site: SiteInput) -> SiteInput:
        # FEFF reads four letters
        given = any(line.split()[0].upper()[:4] == card[:4] for line in site.extra_cards)
        return site if given else change(site)

    return changed


def _gentler(scf: ScfControl, divisor: float) -> ScfControl:
    return replace(
        scf,
        mixing=scf.mixing / divisor,
        n_plain_mixing=scf.n_plain_mixing + _MORE_PLAIN,
        max_iterations=max(_LEAST_ITERATIONS, scf.max_iterations),
    )


def _centered(scf: ScfControl) -> ScfControl:
    return replace(_gentler(scf, 2.0), center_separation=True)


def _through_bad_counts(scf: ScfControl) -> ScfControl:
    return replace(_centered(scf), on_bad_counts="go_on")


def _slow(scf: ScfControl) -> ScfControl:
    return _gentler(scf, 4.0)


def _ramped(scf: ScfControl) -> ScfControl:
    return replace(_gentler(scf, 2.0), ramp_from_angstrom=_RAMP_START * scf.radius_angstrom)


def _deeper_floor(scf: ScfControl) -> ScfControl:
    return replace(_gentler(scf, 2.0), core_valence_floor_ev=_DEEPER_FLOOR_EV)


def _wider(scf: ScfControl) -> ScfControl:
    return replace(_gentler(scf, 2.0), radius_angstrom=1.2 * scf.radius_angstrom)


def _less_overlap(site: SiteInput) -> SiteInput:
    gentler = _scf(lambda scf: _gentler(scf, 2.0))(site)
    return replace(gentler, overlap=min(_SMALLER_OVERLAP, site.overlap))


_NONE = Step("none", lambda site: site)
_WIDER = Step("wider SCF cluster", _scf(_wider))

#: Gentler mixing is what FEFF's authors advise for difficult cases, and a mixing that overshoots
#: can lead the library out of its arrays. With the core-valence separation in the middle of its
#: gap no level slips past it. Occupations can be impossible in the first iterations only, where
#: starting anew does not help: so the third step goes on through them. A wider cluster removes
#: surface states of a small one.
FEFF8L_LADDER: tuple[Step, ...] = (
    _NONE,
    Step("centered separation", _scf(_centered)),
    Step("through bad counts", _scf(_through_bad_counts)),
    Step("quarter mixing", _scf(_slow)),
    _WIDER,
)

#: A mixing of 0.05 with more iterations is what feff10's authors advise (its issue 24). Then
#: what only FEFF10 has: potentials of a small cluster as the start of larger ones, and a deeper
#: search for core levels that a crystal lifts among the valence states. Less overlap helps where
#: FEFF cannot integrate enough charge. These three act on the potentials alone and are tried for
#: no other failure.
FEFF10_LADDER: tuple[Step, ...] = (
    _NONE,
    Step("half mixing", _scf(lambda scf: _gentler(scf, 2.0))),
    Step("quarter mixing", _scf(_slow)),
    Step("SCF ramp", _unless_given("SCFRAMP", _scf(_ramped)), _POTENTIALS),
    Step("deeper core levels", _unless_given("CORVAL", _scf(_deeper_floor)), _POTENTIALS),
    Step("smaller overlap", _unless_given("AFOLP", _less_overlap), _POTENTIALS),
    _WIDER,
)


def recover(
    site: SiteInput,
    attempt: Callable[[SiteInput, Path], T],
    folder: Path,
    *,
    ladder: Sequence[Step] = FEFF8L_LADDER,
    limits: Limits = FEFF8L_LIMITS,
    kept: bool = False,
) -> Recovered[T]:
    """
    Try a site until a try works or nothing is left that could help.

    Parameters
    ----------
    site : SiteInput
        As it was asked for.
    attempt : callable
        ``attempt(site, folder)`` makes one try in an empty folder that exists; it raises
        `EngineError` where it gives nothing usable, with the reason code that decides what
        follows (`REMEDIES`). Any other error ends it all at once and passes through.
    folder : Path
        Gets a folder ``try-1``, ``try-2`` ... for each try and custodian's log of what was
        corrected, ``custodian.json``.
    ladder : sequence of Step
        The first step is always tried; steps after it whose input the engine cannot hold, or
        that change nothing, are left out.
    limits : Limits
        What the engine can hold.
    kept : bool
        Whether the folder stays, so that an error may name it.

    Returns
    -------
    Recovered

    Raises
    ------
    EngineError
        The class, reason, log and input of the last failure, and all tries in `attempts`.
    StorageError
        If the folder of a try or the log cannot be written.
    """
    tries = _Tries(site, attempt, folder, ladder, limits)
    custodian = Custodian(
        handlers=[handler(tries) for handler in _HANDLERS],
        jobs=[_OneTry(tries)],
        max_errors=len(ladder) + 2,  # the handlers end it before
        directory=str(folder),
    )
    try:
        with _silent_here():
            custodian.run()  # type: ignore[no-untyped-call]
    except CustodianError:
        assert tries.failure is not None
        raise _final(tries.failure, tries.failed, folder if kept else None) from tries.failure
    except OSError as error:
        if tries.stopped_by is not None:  # custodian's log of it failed in its turn
            raise tries.stopped_by from None
        if folder.exists():
            raise StorageError(f"{folder} cannot be written: {error.strerror}") from error
        # somebody removed the folder, and only the log of what is known already is lost with it
        if not tries.has_result():
            assert tries.failure is not None
            raise _final(tries.failure, tries.failed, None) from tries.failure
    return tries.result()


class _Tries(Generic[T]):
    """The tries at one site so far, and the choice of the next one."""

    def __init__(
        self,
        site: SiteInput,
        attempt: Callable[[SiteInput, Path], T],
        folder: Path,
        ladder: Sequence[Step],
        limits: Limits,
    ) -> None:
        self._asked = site
        self._attempt = attempt
        self._folder = folder
        self._ladder = ladder
        self._limits = limits
        self._position = 0
        self._name = ladder[0].name
        self._site = ladder[0].change(site)
        self._tried = [self._site]
        self._repeated = False
        self._values: list[T] = []
        self.failed: list[Attempt] = []
        self.failure: EngineError | None = None
        self.stopped_by: BaseException | None = None

    def __call__(self) -> None:
        """Make the try that is due."""
        self.failure = None
        try:
            folder = self._try_folder()
            _make(folder, exist_ok=False)
            try:
                with watched_scratch(folder):
                    self._values.append(self._attempt(self._site, folder))
            except EngineError as error:
                self.failure = error
                self.failed.append(Attempt(self._name, error.reason, error.message))
            _make(self._folder)  # custodian's log goes there, also where somebody removed it
        except BaseException as error:
            self.stopped_by = error
            raise

    def has_result(self) -> bool:
        return bool(self._values)

    def result(self) -> Recovered[T]:
        (value,) = self._values
        return Recovered(value, self._name, tuple(self.failed), self._site, self._try_folder())

    def up(self, reason: str) -> bool:
        """Go to the next step that can help; say whether there is one."""
        for position in range(self._position + 1, len(self._ladder)):
            step = self._ladder[position]
            site = step.change(self._asked)
            if reason in step.cures and site not in self._tried and _fits(site, self._limits):
                self._position, self._name, self._site = position, step.name, site
                self._tried.append(site)
                return True
        return False

    def again(self) -> bool:
        """Go to the same step once more, but only once at a site."""
        if self._repeated:
            return False
        self._repeated = True
        self._name = "again" if self._name == "none" else f"{self._name}, again"
        return True

    def description(self) -> dict[str, Any]:
        """Return what the run log says of the try that is due."""
        return {
            "step": self._name,
            "folder": self._try_folder().name,
            "changes": _changes(self._asked, self._site),
        }

    def ladder_names(self) -> list[str]:
        return [step.name for step in self._ladder]

    def _try_folder(self) -> Path:
        return self._folder / f"try-{len(self.failed) + 1}"


def _make(folder: Path, *, exist_ok: bool = True) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=exist_ok)
    except OSError as error:
        raise StorageError(f"{folder} cannot be made: {error.strerror}") from error


class _OneTry(Job):
    """One try: custodian runs it anew after each correction."""

    def __init__(self, tries: _Tries[Any]) -> None:
        self._tries = tries

    def setup(self, directory: str = "./") -> None:
        """Do nothing: each try makes its own folder."""

    def run(self, directory: str = "./") -> None:
        """Make the try; there is no process for custodian to wait for."""
        self._tries()

    def postprocess(self, directory: str = "./") -> None:
        """Do nothing."""

    def as_dict(self) -> dict[str, Any]:
        """Return what the run log says of the job."""
        return {**_class_of(self), "ladder": self._tries.ladder_names()}


class _Handler(ErrorHandler):
    """Chooses what follows the failures of one family."""

    reasons: frozenset[str] = frozenset()

    def __init__(self, tries: _Tries[Any]) -> None:
        self._tries = tries

    def check(self, directory: str = "./") -> bool:
        """Tell whether the last try failed in this family's way."""
        failure = self._tries.failure
        return failure is not None and self._handles(failure.reason)

    def correct(self, directory: str = "./") -> dict[str, Any]:
        """Choose the next try; no actions mean that there is none."""
        failure = self._tries.failure
        assert failure is not None
        remedy = REMEDIES.get(failure.reason, "fail")
        going_on = (remedy == "again" and self._tries.again()) or (
            remedy == "ladder" and self._tries.up(failure.reason)
        )
        return {
            "errors": [dataclasses.asdict(self._tries.failed[-1])],
            "actions": [self._tries.description()] if going_on else None,
        }

    def as_dict(self) -> dict[str, Any]:
        """Return what the run log says of the handler."""
        return _class_of(self)

    def _handles(self, reason: str) -> bool:
        return reason in self.reasons


class ScfHandler(_Handler):
    """The potentials did not become self-consistent."""

    reasons = frozenset(
        {"scf_not_converged", "bad_counts", "valence_assignment", "second_solution"}
    )


class CrashHandler(_Handler):
    """The program died, was ended from outside, or lost its folder."""

    reasons = frozenset({"crash", "error_file", "killed", "scratch_lost"})


class OutputHandler(_Handler):
    """The program ended, and its output cannot be used."""

    reasons = frozenset(
        {
            "output_missing",
            "output_stale",
            "output_truncated",
            "output_not_finite",
            "wrong_grid",
            "negative_spectrum",
            "zero_spectrum",
            "tensor_not_positive",
            "asymmetric_tensor",
        }
    )


class FinalHandler(_Handler):
    """Whatever no other try can change, and what is not known."""

    def _handles(self, reason: str) -> bool:
        return not any(reason in other.reasons for other in _HANDLERS)


_HANDLERS: tuple[type[_Handler], ...] = (ScfHandler, CrashHandler, OutputHandler, FinalHandler)


def _fits(site: SiteInput, limits: Limits) -> bool:
    try:
        site.check(limits)
    except ClusterError:
        return False
    return True


def _final(last: EngineError, failed: Sequence[Attempt], run_dir: Path | None) -> EngineError:
    """Return the error that tells of all tries."""
    message = last.message
    if len(failed) > 1 or REMEDIES.get(last.reason) == "ladder":
        told = [
            one.message if one.step == "none" else f"with {one.step}: {one.message}"
            for one in failed
        ]
        number = f"{len(failed)} {'try' if len(failed) == 1 else 'tries'}"
        message = f"no spectrum after {number} ({'; '.join(told)})"
    error = type(last)(message, run_dir=run_dir, log_tail=last.log_tail, reason=last.reason)
    error.attempts = tuple(failed)
    error.input_text = last.input_text
    return error


def _changes(asked: SiteInput, tried: SiteInput) -> dict[str, Any]:
    """Return the settings in which a try differs from what was asked for."""
    pairs = [
        (field.name, getattr(asked, field.name), getattr(tried, field.name))
        for field in dataclasses.fields(SiteInput)
        if field.name != "scf"
    ] + [
        (f"scf.{field.name}", getattr(asked.scf, field.name), getattr(tried.scf, field.name))
        for field in dataclasses.fields(ScfControl)
    ]
    return {name: value for name, before, value in pairs if value != before}


def _class_of(thing: object) -> dict[str, Any]:
    return {"@module": type(thing).__module__, "@class": type(thing).__name__}


class _OursAreSilent(logging.Filter):
    """
    Drops what custodian logs of a recovery of ours.

    It logs each correction as an error, which Python prints where nobody has set up logging; a
    step of the ladder is no error, and documents tell of it. What custodian logs in other threads
    or for other work of this process passes.
    """

    def __init__(self) -> None:
        super().__init__()
        self.here = threading.local()

    def filter(self, record: logging.LogRecord) -> bool:
        return not getattr(self.here, "depth", 0)


_FILTER = _OursAreSilent()
logging.getLogger(Custodian.__module__).addFilter(_FILTER)


@contextmanager
def _silent_here() -> Iterator[None]:
    here = _FILTER.here
    here.depth = getattr(here, "depth", 0) + 1
    try:
        yield
    finally:
        here.depth -= 1
