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
