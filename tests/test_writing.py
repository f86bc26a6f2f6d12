from __future__ import annotations

import subprocess
import sys

import pytest

from vtc_flows.errors import StorageError
from vtc_flows.writing import file_name, write_whole


def test_file_is_written_with_its_folder(tmp_path):
    write_whole(tmp_path / "a/b.txt", "text")
    assert (tmp_path / "a/b.txt").read_text() == "text"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b.txt"]


@pytest.mark.parametrize("limit", [0, 100])
def test_full_disk_leaves_the_former_file(tmp_path, limit):
    """A limit on the size of files stands for a full disk: the write fails half way."""
    path = tmp_path / "kept.txt"
    path.write_text("former")
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "from vtc_flows.errors import StorageError\n"
        "from vtc_flows.writing import write_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))\n"
        "try:\n"
        "    write_whole(Path(sys.argv[1]), 'x' * 1000)\n"
        "except StorageError as error:\n"
        "    sys.exit(3 if 'could not be written' in str(error) else 4)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=False)
    assert done.returncode == 3
    assert path.read_text() == "former"
    assert [left.name for left in tmp_path.iterdir()] == ["kept.txt"]


def test_folder_that_is_a_file_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/x"):
        write_whole(tmp_path / "file/x", "text")


@pytest.mark.parametrize("name", ["..", "../../etc/passwd", "a/b", ".hidden", "a\0b", "ö" * 300])
def test_names_of_files_stay_in_their_folder(tmp_path, name):
    made = tmp_path / file_name(name, ".json")
    assert made.parent == tmp_path
    assert not made.name.startswith(".")
    made.write_text("")


def test_different_names_give_different_files():
    names = ["a/b", "a_b", "a b", "x" * 300, "x" * 301]
    assert len({file_name(name) for name in names}) == len(names)
