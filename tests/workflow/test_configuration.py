from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from monty.serialization import loadfn

from vtc_flows.workflow.configuration import configuration_files, without_secrets

ROOT = Path(__file__).parents[2]


def write(root: Path, **values) -> Path:
    for path, text in configuration_files(root, **values).items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def call(*command: str, root: Path, **environment: str) -> str:
    """Run a command far from the files, as FireWorks' own environment variable says."""
    done = subprocess.run(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        cwd="/",
        env={**os.environ, "FW_CONFIG_FILE": str(root / "config/FW_config.yaml"), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_those_of_the_repository_are_the_defaults():
    files = configuration_files()
    assert {path: (ROOT / path).read_text() for path in files} == files
    assert set((ROOT / "config").iterdir()) == {ROOT / path for path in files if path.parent.name}


@pytest.mark.parametrize("name", ["plain", "with blank # and: 'quotes'"])
def test_fireworks_and_jobflow_read_them(database, mongo_server, tmp_path, name):
    root = write(
        tmp_path / name,
        uri=mongo_server.uri,
        database_name=database.name,
        worker=name,
        programs=tmp_path / "a b/bin",
    )
    database.fw_id_assigner.insert_one({"_id": -1, "next_fw_id": 7, "next_launch_id": 1})
    (tmp_path / "fw.yaml").write_text(
        "spec: {_tasks: [{_fw_name: ScriptTask, script: 'true'}]}\nname: hello\n"
    )
    call("lpad", "add", str(tmp_path / "fw.yaml"), root=root)
    assert database.fireworks.find_one()["name"] == "hello"
    code = (
        "from fireworks.core.fworker import FWorker\n"
        "from fireworks.fw_config import FWORKER_LOC, PING_TIME_SECS, QUEUEADAPTER_LOC\n"
        "from fireworks.utilities.fw_serializers import load_object_from_file\n"
        "from jobflow import SETTINGS\n"
        "store = SETTINGS.JOB_STORE\n"
        "store.connect()\n"
        "print(FWorker.from_file(FWORKER_LOC).name, PING_TIME_SECS, store.count(), sep='|')\n"
        "print(load_object_from_file(QUEUEADAPTER_LOC).get_script_str('/tmp'))\n"
    )
    out = call(
        *("python", "-c", code),
        root=root,
        JOBFLOW_CONFIG_FILE=str(root / "config/jobflow.yaml"),
    )
    first, *script = out.splitlines()
    assert first == f"{name}|60|0"
    assert f"export PATH='{tmp_path / 'a b/bin'}':$PATH" in script
    assert "#SBATCH --cpus-per-task=1" in script
    assert "vtc rlaunch rapidfire --timeout 79200" in script


def test_the_queue_script_is_one_for_the_shell(tmp_path):
    root = write(tmp_path / "it's here", worker="w")
    adapter = loadfn(root / "config/my_qadapter.yaml")
    done = subprocess.run(
        ["bash", "-ec", adapter["pre_rocket"] + "\necho $FW_CONFIG_FILE"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(root / "config/FW_config.yaml")


@pytest.mark.parametrize(
    ("uri", "public"),
    [
        ("mongodb://host/", "mongodb://host/"),
        ("mongodb+srv://u:p@cluster.example/db", "mongodb+srv://cluster.example/db"),
        ("mongodb://u:p@a:1,b:2/?tls=true", "mongodb://a:1,b:2/?tls=true"),
        (
            "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:x&tls=true",
            "mongodb://h/?tls=true",
        ),
        ("mongodb://h/?tls=true&tlsCertificateKeyFilePassword=x", "mongodb://h/?tls=true"),
    ],
)
def test_secrets_are_left_out(uri, public):
    assert without_secrets(uri) == public
    assert any(public in text for text in configuration_files(uri=uri).values())
