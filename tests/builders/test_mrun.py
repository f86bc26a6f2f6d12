"""The files of `builders/`, run by maggma's own command as its users run it."""

from __future__ import annotations

import json
import socket

import pytest
from builder_drill import nothing_written
from campaign import SIZES, STRUCTURES
from mrun import FILES, finish, start, unversioned

from vtc_flows.builders import (
    DatasetBuilder,
    ExponentBuilder,
    ExponentCurveBuilder,
    FeatureBuilder,
    SamsBuilder,
    SiteSpectraBuilder,
)
from vtc_flows.builders.running import build

CLASSES = (
    *(FeatureBuilder, SiteSpectraBuilder, SamsBuilder, DatasetBuilder),
    *(ExponentBuilder, ExponentCurveBuilder),
)
TARGETS = ("features", "site_spectra", "sams", "datasets", "exponents", "exponent_curves")
#: Differ from run to run: times, and names of arrays.
CHANGING = {"_id", "created_at", "last_updated", "blob_uuid"}


def plain(content):
    if isinstance(content, dict):
        return {key: plain(value) for key, value in content.items() if key not in CHANGING}
    return [plain(value) for value in content] if isinstance(content, list) else content


def timeless_build(document: dict) -> dict:
    """Return a document without what hangs on the times of its members."""
    document = plain(document)
    for key in ("fingerprint", "members", "content"):
        document["build"].pop(key)
    return document


def everything(database) -> dict[str, list[dict]]:
    return {
        name: sorted((timeless_build(each) for each in database[name].find()), key=json.dumps)
        for name in TARGETS
    }


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@pytest.fixture
def serial(built):
    """Return what the builders make in one process."""
    made = everything(built)
    assert len(made["sams"]) == len(SIZES) * len(STRUCTURES)
    return made


def test_the_files_are_the_builders_with_their_defaults():
    found = [each for file in FILES for each in json.loads(file.read_text())]
    assert [each["@class"] for each in found] == [kind.__name__ for kind in CLASSES]
    assert found == [unversioned(kind().as_dict()) for kind in CLASSES]
    assert "mongodb:" not in json.dumps(found)


@pytest.mark.parametrize("processes", [1, 2])
def test_mrun_makes_what_a_single_process_makes(serial, campaign, processes):
    finish(start("-n", processes, *FILES))
    assert everything(campaign) == serial
    with nothing_written(campaign):
        for kind in CLASSES:
            build(kind())


@pytest.mark.parametrize(
    ("kind", "collection"),
    [
        (FeatureBuilder, "features"),
        (SiteSpectraBuilder, "site_spectra"),
        (SamsBuilder, "sams"),
        (ExponentBuilder, "exponents"),
    ],
)
def test_mrun_in_distributed_mode(serial, derived_before, tmp_path, kind, collection):
    campaign = derived_before(kind.__name__)
    # one builder: a manager's workers leave when its first one is done
    file = tmp_path / "one.json"
    file.write_text(json.dumps([kind().as_dict()]))
    address = ("-u", "tcp://127.0.0.1", "-p", free_port())
    manager = start(*address, "-N", 4, "-w", 2, file)
    workers = [start(*address, "-n", 1, file) for _ in range(2)]
    outputs = [finish(each) for each in (manager, *workers)]
    assert "failed with error" not in "".join(outputs)
    assert everything(campaign)[collection] == serial[collection]
    with nothing_written(campaign):
        build(kind())


@pytest.mark.parametrize("parts", [1, 3, 4, 100])
def test_spans_hold_every_group_once(campaign, parts):
    chunks = _spans(parts)
    names = sorted(STRUCTURES)
    held = [name for chunk in chunks for name in names if FeatureBuilder(**chunk)._is_mine(name)]
    assert held == names
    assert len(chunks) == min(parts, len(names))


def _spans(parts: int) -> list[dict]:
    builder = FeatureBuilder()
    builder.connect()
    return list(builder.prechunk(parts))


def test_an_empty_source_still_gives_workers_something_to_do(database):
    assert _spans(3) == [{"span": [None, None]}]
