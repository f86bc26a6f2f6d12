"""The recovery through real custodian, with tries that fail as they are told."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from vtc_flows import errors
from vtc_flows.errors import (
    ConfigurationError,
    EngineCrashError,
    EngineError,
    EngineOutputError,
    EngineTimeoutError,
    ScfNotConvergedError,
    StorageError,
)
from vtc_flows.feff.recovery import (
    FEFF8L_LADDER,
    FEFF10_LADDER,
    REMEDIES,
    CrashHandler,
    FinalHandler,
    OutputHandler,
    ScfHandler,
    Step,
    recover,
)
from vtc_flows.feff.site_input import (
    FEFF8L_LIMITS,
    FEFF10_LIMITS,
    EnergyGrid,
    PotentialSpec,
    ScfControl,
    SiteInput,
)

LADDERS = {"feff8l": (FEFF8L_LADDER, FEFF8L_LIMITS), "feff10": (FEFF10_LADDER, FEFF10_LIMITS)}


def chain(n_atoms: int = 20, spacing: float = 1.0, **scf) -> SiteInput:
    """Atoms on a line."""
    return SiteInput(
        positions_angstrom=tuple((0.0, 0.0, spacing * i) for i in range(n_atoms)),
        potential_index=(0, *(1 for _ in range(n_atoms - 1))),
        potentials=(
            PotentialSpec.with_default_lmax(28, "Ni", 0.01),
            PotentialSpec.with_default_lmax(8, "O", 1.0),
        ),
        scf=ScfControl(**{"radius_angstrom": 4.5, **scf}),
        fms_radii_angstrom=(4.5,),
        grid=EnergyGrid(-1.0, 1.0, 0.5),
    )


class Engine:
    """Fails with the reasons it is given, one a try, then works; notes what it was given."""

    def __init__(self, *reasons: str | BaseException, endless: bool = False) -> None:
        self.left = list(reasons)
        self.endless = endless
        self.sites: list[SiteInput] = []
        self.folders: list[Path] = []

    def __call__(self, site: SiteInput, folder: Path) -> str:
        assert list(folder.iterdir()) == []
        (folder / "output").write_text("left behind")
        self.sites.append(site)
        self.folders.append(folder)
        if not self.left:
            return "a spectrum"
        reason = self.left[0] if self.endless else self.left.pop(0)
        if isinstance(reason, BaseException):
            raise reason
        error = EngineError(f"try {len(self.sites)}", reason=reason, log_tail="last words")
        error.input_text = f"input of try {len(self.sites)}"
        raise error


def steps_after_endless(reason: str, tmp_path: Path, engine: str = "feff10") -> list[str]:
    ladder, limits = LADDERS[engine]
    with pytest.raises(EngineError) as caught:
        recover(chain(), Engine(reason, endless=True), tmp_path, ladder=ladder, limits=limits)
    assert {one.reason for one in caught.value.attempts} == {reason}
    assert caught.value.reason == reason
    return [one.step for one in caught.value.attempts]


@pytest.mark.parametrize("engine", LADDERS)
@pytest.mark.parametrize("reason", REMEDIES)
def test_policy_of_every_reason(reason, engine, tmp_path):
    ladder, _ = LADDERS[engine]
    expected = {
        "fail": ["none"],
        "again": ["none", "again"],
        "ladder": [step.name for step in ladder if step.name == "none" or reason in step.cures],
    }
    assert steps_after_endless(reason, tmp_path, engine) == expected[REMEDIES[reason]]


def test_policy_as_it_is_written_down():
    again = {
        "killed",
        "scratch_lost",
        "output_missing",
        "output_stale",
        "output_truncated",
        "output_not_finite",
    }
    ladder = {
        "scf_not_converged",
        "bad_counts",
        "valence_assignment",
        "second_solution",
        "crash",
        "error_file",
        "negative_spectrum",
    }
    ladder |= {"zero_spectrum", "tensor_not_positive", "asymmetric_tensor"}
    fail = {
        "timeout",
        "bad_input",
        "program_missing",
        "stack_limit",
        "overlap_limit",
        "bad_output",
        "engine_error",
    }
    by_remedy = {"again": again | {"wrong_grid"}, "ladder": ladder, "fail": fail}
    for remedy, reasons in by_remedy.items():
        assert {reason for reason, given in REMEDIES.items() if given == remedy} == reasons


def test_every_error_class_has_a_known_reason():
    classes = [value for value in vars(errors).values() if isinstance(value, type)]
    assert {c.reason for c in classes if issubclass(c, EngineError)} <= set(REMEDIES)


def test_each_reason_belongs_to_one_handler():
    handled = [reason for h in (ScfHandler, CrashHandler, OutputHandler) for reason in h.reasons]
    assert len(handled) == len(set(handled))
    final = {reason for reason, remedy in REMEDIES.items() if remedy == "fail"}
    assert set(REMEDIES) - set(handled) == final
    assert FinalHandler.reasons == frozenset()  # all that no other handler has


def test_an_unknown_reason_ends_it(tmp_path):
    assert steps_after_endless("something else", tmp_path) == ["none"]


def test_the_first_try_has_the_site_as_it_was_asked_for(tmp_path):
    engine = Engine()
    found = recover(chain(), engine, tmp_path)
    assert (found.value, found.step, found.attempts) == ("a spectrum", "none", ())
    assert engine.sites == [chain()]
    assert (found.site, found.folder) == (chain(), tmp_path / "try-1")


def test_each_try_starts_from_scratch_in_a_folder_of_its_own(tmp_path):
    engine = Engine("scf_not_converged", "killed", "crash")
    found = recover(chain(), engine, tmp_path, ladder=FEFF10_LADDER, limits=FEFF10_LIMITS)
    assert [folder.name for folder in engine.folders] == ["try-1", "try-2", "try-3", "try-4"]
    assert [(one.step, one.reason) for one in found.attempts] == [
        ("none", "scf_not_converged"),
        ("half mixing", "killed"),
        ("half mixing, again", "crash"),
    ]
    assert found.step == "quarter mixing"
    assert found.folder == tmp_path / "try-4"
    assert engine.sites[1] == engine.sites[2]
    assert found.site == engine.sites[3]
    # each step starts from what was asked for, not from the step before
    assert found.site.scf.mixing == chain().scf.mixing / 4


def test_only_one_try_is_repeated_at_a_site(tmp_path):
    engine = Engine("killed", "scf_not_converged", "output_missing")
    with pytest.raises(EngineError) as caught:
        recover(chain(), engine, tmp_path)
    assert [one.step for one in caught.value.attempts] == ["none", "again", "centered separation"]
    assert caught.value.reason == "output_missing"


@pytest.mark.parametrize("engine", LADDERS)
def test_no_input_is_tried_twice(engine, tmp_path):
    ladder, limits = LADDERS[engine]
    tries = Engine("scf_not_converged", endless=True)
    with pytest.raises(EngineError):
        recover(chain(), tries, tmp_path, ladder=(*ladder, *ladder), limits=limits)
    assert len(tries.sites) == len({site.digest() for site in tries.sites}) == len(ladder)


def test_steps_that_the_engine_cannot_hold_are_left_out(tmp_path):
    site = chain(200, spacing=0.5, radius_angstrom=49.0)  # 99 atoms; 1.2 times the radius: 118
    for engine, held in (("feff8l", False), ("feff10", True)):
        ladder, limits = LADDERS[engine]
        tries = Engine("scf_not_converged", endless=True)
        with pytest.raises(EngineError) as caught:
            recover(site, tries, tmp_path / engine, ladder=ladder, limits=limits)
        assert ("wider SCF cluster" in [one.step for one in caught.value.attempts]) is held


def test_the_first_step_is_tried_whatever_the_limits_say(tmp_path):
    found = recover(chain(), Engine(), tmp_path, limits=replace(FEFF8L_LIMITS, scf_atoms=1))
    assert found.step == "none"


def test_without_iterations_no_step_asks_for_some(tmp_path):
    tries = Engine("crash", endless=True)
    site = chain(max_iterations=0)
    with pytest.raises(EngineError):
        recover(site, tries, tmp_path, ladder=FEFF10_LADDER, limits=FEFF10_LIMITS)
    assert [site.scf.max_iterations for site in tries.sites] == [0, 0]
    assert tries.sites[1].overlap < site.overlap


def test_a_card_that_the_user_gave_is_not_given_another_value(tmp_path):
    tries = Engine("scf_not_converged", endless=True)
    site = replace(chain(), extra_cards=("corval -60", "SCFRAMP 3.0 2", "AFOLP 1.1"))
    with pytest.raises(EngineError) as caught:
        recover(site, tries, tmp_path, ladder=FEFF10_LADDER, limits=FEFF10_LIMITS)
    steps = [one.step for one in caught.value.attempts]
    assert steps == ["none", "half mixing", "quarter mixing", "wider SCF cluster"]


def test_what_the_steps_of_feff10_change():
    site = chain(max_iterations=30)
    tried = {step.name: step.change(site) for step in FEFF10_LADDER}
    assert tried["none"] == site
    assert {name: one.scf.mixing for name, one in tried.items() if name != "none"} == {
        "half mixing": 0.1,
        "quarter mixing": 0.05,
        "SCF ramp": 0.1,
        "deeper core levels": 0.1,
        "smaller overlap": 0.1,
        "wider SCF cluster": 0.1,
    }
    assert all(one.scf.max_iterations == 100 for name, one in tried.items() if name != "none")
    assert all(one.scf.n_plain_mixing == 5 for name, one in tried.items() if name != "none")
    assert tried["SCF ramp"].scf.ramp_from_angstrom == pytest.approx(0.6 * 4.5)
    assert tried["deeper core levels"].scf.core_valence_floor_ev == -100.0
    assert tried["smaller overlap"].overlap == 1.05
    assert tried["wider SCF cluster"].scf.radius_angstrom == pytest.approx(1.2 * 4.5)


def test_steps_of_feff8l_ask_for_nothing_that_it_does_not_know():
    for step in FEFF8L_LADDER:
        tried = step.change(chain())
        assert tried.scf.ramp_from_angstrom is None
        assert tried.scf.core_valence_floor_ev is None
        assert tried.overlap == chain().overlap


def test_a_step_is_tried_only_for_what_it_can_cure(tmp_path):
    ladder = (
        FEFF8L_LADDER[0],
        Step("overlap", lambda site: replace(site, overlap=1.0), frozenset({"bad_counts"})),
        FEFF8L_LADDER[3],
    )
    assert recover(chain(), Engine("crash"), tmp_path / "a", ladder=ladder).step == "quarter mixing"
    assert recover(chain(), Engine("bad_counts"), tmp_path / "b", ladder=ladder).step == "overlap"


class TestErrors:
    def test_the_last_class_with_all_tries(self, tmp_path):
        engine = Engine(
            ScfNotConvergedError("no convergence", log_tail="log 1"),
            EngineTimeoutError("too long", log_tail="log 2"),
        )
        with pytest.raises(EngineTimeoutError) as caught:
            recover(chain(), engine, tmp_path)
        error = caught.value
        assert error.message == (
            "no spectrum after 2 tries (no convergence; with centered separation: too long)"
        )
        assert (error.reason, error.log_tail, error.run_dir) == ("timeout", "log 2", None)
        assert [one.message for one in error.attempts] == ["no convergence", "too long"]
        assert isinstance(error.__cause__, EngineTimeoutError)

    def test_one_failure_that_nothing_cures_is_told_as_it_is(self, tmp_path):
        with pytest.raises(EngineTimeoutError, match=r"^too long$"):
            recover(chain(), Engine(EngineTimeoutError("too long")), tmp_path)

    def test_input_of_the_last_try_and_the_folder_that_is_kept(self, tmp_path):
        with pytest.raises(EngineError, match="files kept in") as caught:
            recover(chain(), Engine("crash", "timeout"), tmp_path, kept=True)
        assert caught.value.input_text == "input of try 2"
        assert caught.value.run_dir == tmp_path

    @pytest.mark.parametrize(
        "error",
        [StorageError("full"), ConfigurationError("x"), KeyboardInterrupt(), ZeroDivisionError()],
    )
    def test_what_is_no_failure_of_the_engine_passes_at_once(self, error, tmp_path):
        engine = Engine(error, "crash")
        with pytest.raises(type(error)) as caught:
            recover(chain(), engine, tmp_path)
        assert caught.value is error
        assert len(engine.sites) == 1

    def test_a_folder_that_is_there_already_is_not_used(self, tmp_path):
        (tmp_path / "try-2").mkdir()
        with pytest.raises(StorageError, match=r"try-2 cannot be made: File exists"):
            recover(chain(), Engine("crash"), tmp_path)

    def test_a_log_that_cannot_be_written(self, tmp_path):
        (tmp_path / "custodian.json").mkdir()
        with pytest.raises(StorageError, match="cannot be written: Is a directory"):
            recover(chain(), Engine("crash"), tmp_path)

    @pytest.mark.parametrize("error", [KeyboardInterrupt(), StorageError("no space left")])
    def test_a_log_that_cannot_be_written_hides_nothing(self, error, tmp_path):
        (tmp_path / "custodian.json").mkdir()
        with pytest.raises(type(error)) as caught:
            recover(chain(), Engine(error), tmp_path)
        assert caught.value is error

    def test_full_disk(self, tmp_path):
        disk = tmp_path / "disk"
        disk.mkdir()
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", str(disk)],
            capture_output=True,
            text=True,
            check=False,
        )
        if mounted.returncode:
            pytest.skip(f"no small disk can be mounted here: {mounted.stderr.strip()}")

        def fill(site: SiteInput, folder: Path) -> str:
            with pytest.raises(OSError, match="space"):
                (folder / "large").write_bytes(b"x" * 100_000)
            raise EngineCrashError("it died")

        try:
            with pytest.raises(StorageError, match="space"):
                recover(chain(), fill, disk)
        finally:
            subprocess.run(["umount", str(disk)], check=True)


class TestCustodian:
    def test_run_log(self, tmp_path):
        ladder, limits = LADDERS["feff10"]
        engine = Engine("bad_counts", "output_stale", "timeout")
        with pytest.raises(EngineError):
            recover(chain(), engine, tmp_path, ladder=ladder, limits=limits)
        (job,) = json.loads((tmp_path / "custodian.json").read_text())
        assert job["job"]["ladder"] == [step.name for step in ladder]
        first, second, third = job["corrections"]
        assert first["errors"] == [{"step": "none", "reason": "bad_counts", "message": "try 1"}]
        assert first["actions"] == [
            {
                "step": "half mixing",
                "folder": "try-2",
                "changes": {"scf.mixing": 0.1, "scf.n_plain_mixing": 5},
            }
        ]
        assert first["handler"]["@class"] == "ScfHandler"
        assert second["actions"][0]["step"] == "half mixing, again"
        assert second["handler"]["@class"] == "OutputHandler"
        assert (third["actions"], third["handler"]["@class"]) == (None, "FinalHandler")
        assert job["handler"]["@class"] == "FinalHandler"

    def test_says_nothing_and_stays_where_it_is(self, tmp_path):
        """Where nobody has set up logging, Python prints what is logged as an error."""
        code = (
            "import os, sys\n"
            "sys.path.insert(0, sys.argv[1])\n"
            "from pathlib import Path\n"
            "from test_recovery import Engine, chain, recover\n"
            "here = os.getcwd()\n"
            "recover(chain(), Engine('crash', 'killed'), Path(sys.argv[2]))\n"
            "assert os.getcwd() == here\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code, str(Path(__file__).parent), str(tmp_path)],
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_reports_to_nobody(self):
        """A variable that other programs use must not make custodian report, or fail to start."""
        code = (
            "import os, sys, vtc_flows.feff.recovery\n"
            "assert os.environ['SENTRY_DSN'] == 'https://key@127.0.0.1/1'\n"
            "assert 'sentry_sdk' not in sys.modules\n"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            env={**os.environ, "SENTRY_DSN": "https://key@127.0.0.1/1"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_silence_is_for_our_recovery_alone(self, tmp_path, caplog):
        custodians = logging.getLogger("custodian.custodian")

        def attempt(site: SiteInput, folder: Path) -> str:
            with ThreadPoolExecutor(1) as pool:
                pool.submit(custodians.error, "of another thread").result()
            if folder.name == "try-1":
                raise EngineOutputError("bad", reason="zero_spectrum")
            return recover(site, Engine("crash"), folder).step

        found = recover(chain(), attempt, tmp_path)
        assert (found.value, found.step) == ("centered separation",) * 2
        custodians.error("afterwards")
        assert caplog.messages == ["of another thread", "of another thread", "afterwards"]

    def test_recoveries_in_threads_do_not_meet(self, tmp_path):
        def one(number: int) -> tuple[str, int]:
            reasons = ["crash"] * (number % 4)
            engine = Engine(*reasons)
            folder = tmp_path / str(number)
            found = recover(chain(20 + number), engine, folder)
            assert all(site.positions.shape[0] == 20 + number for site in engine.sites)
            assert found.folder.parent == folder
            return found.step, len(found.attempts)

        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(one, range(16)))
        names = [step.name for step in FEFF8L_LADDER]
        assert found == [(names[number % 4], number % 4) for number in range(16)]
