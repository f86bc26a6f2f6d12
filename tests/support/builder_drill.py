"""
The drill that every builder has to pass.

A builder is tried on a copy of the campaign; a `Case` says how its sources are changed, and which
of its documents that concerns.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vtc_flows.builders.derived import DerivedBuilder
from vtc_flows.builders.running import build
from vtc_flows.stores.collections import utc_stamp

#: Versions that others replaced are out of it.
CURRENT = {"current": {"$ne": False}}


@dataclass(frozen=True)
class Case:
    """
    How a builder is tried.

    Attributes
    ----------
    make : callable
        Returns the builder; takes the options that all builders have.
    target, key : str
        Its collection, and the name of the documents there.
    change, add, remove, spoil, mend : callable
        Do this to a source; return the keys of the documents that are to show it.
    bug : (str, str)
        Place of a function that all of it goes through: module and name.
    """

    make: Callable[..., DerivedBuilder]
    target: str
    key: str
    change: Callable[[Any], set[str]]
    add: Callable[[Any], set[str]]
    remove: Callable[[Any], set[str]]
    spoil: Callable[[Any], set[str]]
    mend: Callable[[Any], set[str]]
    reason: str
    bug: tuple[str, str]

    def stamps(self, database) -> dict[str, Any]:
        found = database[self.target].find(CURRENT, {self.key: 1, "last_updated": 1})
        return {each[self.key]: each["last_updated"] for each in found}

    def documents(self, database) -> dict[str, Any]:
        return {each[self.key]: each for each in database[self.target].find(CURRENT, {"_id": 0})}

    def failed(self, database) -> dict[str, str]:
        return {
            each[self.key]: each["reason"]
            for each in database[self.target].find({"state": "failed", **CURRENT})
        }


def operations(database) -> int:
    """Return how often the server changed anything in a database."""
    names = {"$regex": f"^{database.name}\\."}
    return database.client.local["oplog.rs"].count_documents({"ns": names, "op": {"$ne": "n"}})


@contextmanager
def nothing_written(database):
    before = operations(database)
    yield
    assert operations(database) == before


def differing(before: dict[str, Any], after: dict[str, Any]) -> set[str]:
    return {key for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def touch(collection, query) -> None:
    """Give documents a new stamp, as every writer does."""
    collection.update_many(query, {"$set": {"last_updated": utc_stamp()}})


def drill(case: Case, database, monkeypatch) -> None:
    """Go through the seven steps."""
    first = build(case.make())
    stamps = case.stamps(database)
    assert first.n_written == len(stamps) > 0
    assert not first.failures

    with nothing_written(database):
        again = build(case.make())
    assert (again.n_derived, again.n_current) == (0, first.n_derived)

    for step in (case.change, case.add, case.remove):
        concerned = step(database)
        assert concerned
        build(case.make())
        later = case.stamps(database)
        assert differing(stamps, later) == concerned, step
        stamps = later
        with nothing_written(database):
            build(case.make())

    _failures(case, database, monkeypatch)
    _new_code(case, database, monkeypatch)


def _failures(case: Case, database, monkeypatch) -> None:
    concerned = case.spoil(database)
    report = build(case.make())
    assert dict(report.failures) == {case.reason: len(concerned)}
    assert case.failed(database) == dict.fromkeys(concerned, case.reason)
    with nothing_written(database):
        assert build(case.make()).n_derived == 0
        retried = build(case.make(retry_failed=True))
    assert retried.n_derived > 0
    assert retried.n_written == 0
    case.mend(database)
    build(case.make())
    assert case.failed(database) == {}

    before = case.stamps(database)
    with monkeypatch.context() as patch:
        patch.setattr(".".join(case.bug), _stumble)
        stumbled = build(case.make(rebuild=True))
    assert set(stumbled.failures) == {"unexpected"}
    assert not case.documents(database).keys() - case.failed(database).keys()
    for document in database[case.target].find({"state": "failed"}):
        assert document["message"] == "ZeroDivisionError: a bug"
        assert "Traceback" not in str(document)
    with nothing_written(database):
        build(case.make())  # nothing changed that could make it better
    build(case.make(retry_failed=True))
    assert case.failed(database) == {}
    assert case.stamps(database).keys() == before.keys()


def _stumble(*_: Any, **__: Any) -> Any:
    raise ZeroDivisionError("a bug")


def _new_code(case: Case, database, monkeypatch) -> None:
    stamps, documents = case.stamps(database), case.documents(database)
    with monkeypatch.context() as patch:
        patch.setattr(type(case.make()), "revision", 17)
        report = build(case.make())
        assert report.n_current == 0
        assert report.n_derived > 0
        # the same came out: whoever depends on it need not do anything
        assert differing(case.stamps(database), stamps) == set()
        for key, document in case.documents(database).items():
            assert document["build"]["code_version"].endswith("+17")
            assert document["build"]["fingerprint"] != documents[key]["build"]["fingerprint"]
        with nothing_written(database):
            build(case.make())
