"""
Every error this package raises on purpose.

* VtcFlowsError
  + InputError                 what was given cannot be used; also a ValueError
    - StructureError           the crystal structure
      . DisorderedStructureError
      . NoTransitionMetalError
      . OverlappingAtomsError
      . IsolatedAbsorberError
    - ClusterError             the atoms around the absorber, or the engine's limits on them
    - FeffInputError           a feff.inp
    - WindowError              the energies of SAMS, which the spectra do not cover
  + ConfigurationError         settings, keys, optional parts that are not there
    - EngineNotFoundError      no FEFF on this machine
    - EngineInstallError       FEFF could not be installed
  + EngineError                a run gave no usable spectrum; carries the end of its log
    - EngineTimeoutError
    - EngineCrashError         the worker process died
    - ScfNotConvergedError
    - EngineOutputError        output missing, cut off, not finite
    - ScratchLostError         the run folder was removed in the middle of the run
  + StorageError               a result could not be written
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Attempt:
    """
    One try at a site that gave no usable spectrum.

    Attributes
    ----------
    step : str
        The step of the recovery, "none" for the first try.
    reason : str
        The code of what went wrong.
    message : str
        The same in words.
    """

    step: str
    reason: str
    message: str


class VtcFlowsError(Exception):
    """Anything this package raises on purpose."""


class InputError(VtcFlowsError, ValueError):
    """What was given cannot be used."""


class StructureError(InputError):
    """The crystal structure cannot be used."""


class DisorderedStructureError(StructureError):
    """A site is partially occupied or shared by several species."""


class NoTransitionMetalError(StructureError):
    """No absorber: the structure holds none of Sc ... Zn, or not the one asked for."""


class OverlappingAtomsError(StructureError):
    """Two atoms are closer than any chemistry allows."""


class IsolatedAbsorberError(StructureError):
    """The absorber has no neighbours to scatter from."""


class ClusterError(InputError):
    """The atoms around the absorber do not fit what the engine can treat."""


class FeffInputError(InputError):
    """A feff.inp that cannot be honoured as it stands."""


class WindowError(InputError):
    """The window of SAMS reaches beyond the grid of the spectra."""


class ConfigurationError(VtcFlowsError):
    """Settings, keys or optional parts are missing or wrong."""


class EngineNotFoundError(ConfigurationError):
    """No FEFF was found on this machine."""


class EngineInstallError(ConfigurationError):
    """FEFF could not be installed."""


class EngineError(VtcFlowsError):
    """
    A run gave no usable spectrum.

    Parameters
    ----------
    message : str
        What happened.
    run_dir : Path, optional
        Where the run's files are, when they were kept.
    log_tail : str, optional
        The last lines the engine wrote.
    reason : str, optional
        A code that says more than the class's own one.

    Attributes
    ----------
    attempts : tuple
        What was tried before this error was final; see `Attempt`.
    input_text : str
        What the engine was given, so that the run can be repeated.
    """

    #: Short machine-readable reason, stored with a failed site.
    reason = "engine_error"

    def __init__(
        self,
        message: str,
        *,
        run_dir: Path | None = None,
        log_tail: str = "",
        reason: str | None = None,
    ) -> None:
        where = f" (files kept in {run_dir})" if run_dir is not None else ""
        tail = f"\nEnd of the engine's log:\n{log_tail}" if log_tail else ""
        super().__init__(f"{message}{where}{tail}")
        self.message = message
        self.run_dir = run_dir
        self.log_tail = log_tail
        self.attempts: tuple[Attempt, ...] = ()
        self.input_text = ""
        if reason is not None:
            self.reason = reason


class EngineTimeoutError(EngineError):
    """The run passed its time limit and was stopped."""

    reason = "timeout"


class EngineCrashError(EngineError):
    """The worker process died before it finished."""

    reason = "crash"


class ScfNotConvergedError(EngineError):
    """The self-consistent potentials did not converge, with any recovery tried."""

    reason = "scf_not_converged"


class EngineOutputError(EngineError):
    """Output is missing, cut off or not finite."""

    reason = "bad_output"


class ScratchLostError(EngineError):
    """The run folder was removed in the middle of the run."""

    reason = "scratch_lost"


class StorageError(VtcFlowsError):
    """A result could not be written; what was finished before is intact."""
