from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def no_server(monkeypatch, tmp_path):
    monkeypatch.setenv("VTC_DATA_DIRECTORY", str(tmp_path / "nothing"))


def test_a_working_set_and_what_to_do_with_it(vtc, tmp_path, monkeypatch):
    monkeypatch.setenv("VTC_DATABASE_URI", "mongodb://me:secret@db.lab:27017/?tls=true")
    result = vtc("init", tmp_path / "lab")
    assert result.exit_code == 0
    assert sorted(result.stdout.splitlines()) == sorted(
        str(path) for path in (tmp_path / "lab").rglob("*") if path.is_file()
    )
    text = "".join(path.read_text() for path in (tmp_path / "lab").rglob("*.yaml"))
    assert "host: mongodb://db.lab:27017/?tls=true\n" in text
    assert "secret" not in text + result.output
    assert f"export FW_CONFIG_FILE={tmp_path}/lab/config/FW_config.yaml" in result.stderr
    assert "keep VTC_DATABASE_URI set" in result.stderr


def test_what_was_edited_is_not_replaced_unless_asked(vtc, tmp_path):
    assert vtc("init", tmp_path).exit_code == 0
    assert vtc("init", tmp_path).exit_code == 0
    edited = tmp_path / "config/my_qadapter.yaml"
    edited.write_text("queue: mine\n")
    result = vtc("init", tmp_path)
    assert result.exit_code == 2
    assert f"{edited} would change" in result.stderr
    assert edited.read_text() == "queue: mine\n"
    assert vtc("init", tmp_path, "--force").exit_code == 0
    assert "rocket_launch" in edited.read_text()
