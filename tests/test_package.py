"""The package as a whole: layers, imports, the tree of errors, the start of the command line."""

from __future__ import annotations

import inspect
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

import vtc_flows
from vtc_flows import errors

ROOT = Path(__file__).parents[1]
HEAVY = (
    "numpy",
    "scipy",
    "pymatgen",
    "matplotlib",
    "jobflow",
    "custodian",
    "maggma",
    "fireworks",
    "pymongo",
    "pydantic",
    "rich",
    "mp_api",
)


def run_python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_layers(monkeypatch):
    monkeypatch.chdir(ROOT)
    status = lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True)
    assert status == EXIT_STATUS_SUCCESS


def test_import_has_no_side_effect():
    out = run_python(
        "import logging, sys, vtc_flows;"
        "assert not logging.getLogger().handlers;"
        "assert not logging.getLogger('vtc_flows').handlers;"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert out.strip() == "[]"


def test_help_imports_nothing_heavy():
    out = run_python(
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from vtc_flows.cli import main\n"
        "result = CliRunner().invoke(main, ['--help'])\n"
        "assert result.exit_code == 0 and 'features' in result.output\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    assert out.strip() == "[]"


@pytest.mark.parametrize("package", ["physics", "scattering"])
def test_numerical_layers_do_not_load_pymatgen(package):
    modules = [
        f"vtc_flows.{package}.{path.stem}"
        for path in (ROOT / "src/vtc_flows" / package).glob("*.py")
        if path.stem != "__init__"
    ]
    out = run_python(f"import sys, {', '.join(modules)}\nprint('pymatgen' in sys.modules)")
    assert out.strip() == "False"


def test_public_names_exist_and_are_sorted():
    assert vtc_flows.__all__ == sorted(vtc_flows.__all__)
    assert all(hasattr(vtc_flows, name) for name in vtc_flows.__all__)


def test_version_is_that_of_the_distribution():
    assert f'version = "{vtc_flows.__version__}"' in (ROOT / "pyproject.toml").read_text()


def drawn_tree() -> dict[str, str]:
    """Return child -> parent as the docstring draws it."""
    parents: list[tuple[int, str]] = []
    tree = {}
    for line in errors.__doc__.splitlines():
        match = re.match(r"( *)[*+.-] (\w+Error)\b", line)
        if not match:
            continue
        depth = len(match[1])
        parents = [entry for entry in parents if entry[0] < depth]
        tree[match[2]] = parents[-1][1] if parents else ""
        parents.append((depth, match[2]))
    return tree


def test_drawing_of_the_errors_is_the_real_tree():
    real = {
        name: next(
            (base.__name__ for base in cls.__bases__ if base.__module__ == errors.__name__), ""
        )
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.VtcFlowsError)
    }
    assert drawn_tree() == real


@pytest.mark.parametrize(
    "name",
    [
        name
        for name, cls in inspect.getmembers(errors, inspect.isclass)
        if issubclass(cls, errors.VtcFlowsError)
    ],
)
def test_errors_survive_the_way_between_processes(name):
    error = getattr(errors, name)("what happened")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_engine_errors_carry_evidence(tmp_path):
    error = errors.EngineCrashError("it died", run_dir=tmp_path, log_tail="last words")
    assert (error.message, error.log_tail, error.reason) == ("it died", "last words", "crash")
    assert "last words" in str(error)
    assert str(tmp_path) in str(error)
