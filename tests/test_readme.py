"""What the documentation tells people to do is what is tested."""

from __future__ import annotations

import re
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
