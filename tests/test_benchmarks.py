"""The commands of docs/validation.md run, on a part of their input where the whole takes long."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = ROOT / "benchmarks" / "data" / "ten_crystals.jsonl"
PAGE = (ROOT / "docs" / "validation.md").read_text()
#: Blocks of ``text`` need a FEFF10, which CI has not.
COMMANDS = [
    command
    for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    for command in re.findall(r"^(?:python|vtc) .*$", block, re.MULTILINE)
]


def output(command: str, cwd: Path) -> str:
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stderr}"
    return done.stdout


@pytest.mark.parametrize(
    ("command", "part", "says"),
    [
        ("python benchmarks/sams.py", "", "scipy"),
        ("python benchmarks/fms.py", " --energies 2", "ratio"),
        (
            "python benchmarks/features.py structures.jsonl.gz",
            " --structures 10 --rival 2",
            "structures/s",
        ),
    ],
)
def test_benchmarks_run(command, part, says):
    assert command in COMMANDS
    assert says in output(command.replace("structures.jsonl.gz", str(DATA)) + part, ROOT)


@pytest.mark.engine
def test_costs_are_measured_and_compared(tmp_path):
    page = (ROOT / "docs" / "cost.md").read_text()
    measure, compare = (
        command
        for block in re.findall(r"```bash\n(.*?)```", page, re.DOTALL)
        for command in re.findall(r"^python benchmarks/cost.py .*$", block, re.MULTILINE)
    )
    rows = tmp_path / "after.jsonl"
    output(measure.replace("after.jsonl", str(rows)) + " --only mp-20448", ROOT)
    table = output(re.sub(r"\w+\.jsonl", str(rows), compare), ROOT)
    assert "| ten | mp-20448 Mn |" in table
    assert "before / after: median 1," in table


@pytest.mark.engine
def test_growth_of_costs_is_measured():
    command = "python benchmarks/cost_growth.py"
    assert command in (ROOT / "docs" / "cost.md").read_text()
    assert "| exponent |" in output(f"{command} mp-20448 --scf 8,12 --fms 8,12", ROOT)


@pytest.mark.engine
def test_table_of_real_materials_is_made(tmp_path):
    (run,) = [command for command in COMMANDS if command.startswith("vtc run")]
    structures = re.findall(r"\S+\.(?:cif|jsonl)", run)
    assert all((ROOT / name).is_file() for name in structures)
    for name in structures[1:]:
        run = run.replace(name, "")
    run = run.replace(structures[0], str(ROOT / structures[0]))
    output(run, tmp_path)
    (tabulate,) = [command for command in COMMANDS if "table_of_records" in command]
    table = output(tabulate.replace("benchmarks/", f"{ROOT}/benchmarks/"), tmp_path)
    assert table.count("rutile_TiO2") == 2
