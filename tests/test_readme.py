"""What the documentation tells people to do is what is tested."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from vtc_flows.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_ci_runs_the_test_line():
    (line,) = [block.strip() for block in blocks("bash") if "pytest" in block]
    assert line in (ROOT / ".ci/run").read_text().splitlines()


def test_options_in_the_readme_exist():
    for command in re.findall(r"^\S*vtc (\w+)(.*)$", "\n".join(blocks("bash")), re.MULTILINE):
        name, rest = command
        text = CliRunner().invoke(main, [name, "--help"]).output
        for option in re.findall(r"--[a-z-]+", rest.split("#")[0].split(";")[0]):
            assert option in text, (name, option)


def test_python_in_the_readme_runs(monkeypatch):
    monkeypatch.chdir(ROOT)
    (code,) = blocks("python")
    names: dict[str, object] = {}
    exec(code, names)
    assert [job.name for job in names["flow"].jobs] == ["site XES Ti 0", "records Ti"]


@pytest.mark.engine
def test_commands_in_the_readme_run(tmp_path):
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    (commands,) = [block for block in blocks("bash") if "vtc doctor" in block]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    for command in commands.splitlines():
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stderr}"
    assert [r["fms_atoms"] for r in json.loads((tmp_path / "records.json").read_text())] == [30, 80]
    assert json.loads((tmp_path / "features.json").read_text())[0]["features"]["qams"] > 0
    assert (tmp_path / "zno" / "xmu.dat").is_file()


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))):
        for target in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), (page.name, target)


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("01_features.py", "qams"),
        pytest.param("02_spectra.py", "80 neighbours: SAMS", marks=pytest.mark.engine),
    ],
)
def test_examples_run(script, says):
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert says in done.stdout
