from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from vtc_flows.stores.collections import prepare, utc_stamp
from vtc_flows.stores.submissions import Claim, confirm_claims, make_claims, withdraw_claims


def claim(name: str, crystal: str = "c", size: int = 30) -> Claim:
    return Claim(name, "Ni", "feff8l", size, "h" * 64, crystal)


@pytest.fixture
def db(database):
    prepare(database)
    return database


def test_the_first_has_it(db):
    assert make_claims(db, [claim("a"), claim("b")], "one") == {
        claim("a"): "ours",
        claim("b"): "ours",
    }
    decisions = make_claims(db, [claim("a"), claim("c"), claim("a", size=80)], "two")
    assert list(decisions.values()) == ["there", "ours", "ours"]
    assert make_claims(db, [], "three") == {}


def test_the_same_name_for_another_crystal(db):
    make_claims(db, [claim("a")], "one")
    assert make_claims(db, [claim("a", "other")], "two") == {claim("a", "other"): "other crystal"}


def test_what_is_withdrawn_can_be_had_again(db):
    make_claims(db, [claim("a")], "one")
    withdraw_claims(db, [claim("a")])
    assert make_claims(db, [claim("a", "other")], "two") == {claim("a", "other"): "ours"}


def test_of_many_at_a_time_each_claim_has_one_owner(db):
    claims = [claim(f"m-{number}") for number in range(200)]
    decisions: dict[str, dict[Claim, str]] = {}

    def submitter(name: str) -> None:
        decisions[name] = make_claims(db, claims, name)

    threads = [threading.Thread(target=submitter, args=(f"s{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for each in claims:
        assert sorted(made[each] for made in decisions.values()) == ["ours", *["there"] * 5]


class TestAbandoned:
    """A submitter died between its claim and the confirmation."""

    @pytest.fixture
    def abandoned(self, db):
        make_claims(db, [claim("a")], "dead")
        long_ago = utc_stamp() - timedelta(hours=1)
        db.submissions.update_many({}, {"$set": {"claimed_at": long_ago}})
        return db

    def workflow(self, db, nodes, fireworks):
        db.workflows.insert_one(
            {"nodes": nodes, "metadata": {"claims": [claim("a").key], "submission": "dead"}}
        )
        if fireworks:
            db.fireworks.insert_many({"fw_id": number} for number in fireworks)

    def test_before_its_workflow_was_there(self, abandoned):
        assert make_claims(abandoned, [claim("a")], "heir") == {claim("a"): "ours"}

    def test_while_its_workflow_was_written(self, abandoned):
        self.workflow(abandoned, [1, 2], [1])
        assert make_claims(abandoned, [claim("a")], "heir") == {claim("a"): "ours"}
        assert abandoned.workflows.count_documents({}) == 0
        assert abandoned.fireworks.count_documents({}) == 0

    def test_after_its_workflow_was_there(self, abandoned):
        self.workflow(abandoned, [1, 2], [1, 2])
        assert make_claims(abandoned, [claim("a")], "heir") == {claim("a"): "there"}
        assert abandoned.submissions.find_one()["state"] == "submitted"

    def test_not_when_it_was_confirmed(self, abandoned):
        confirm_claims(abandoned, [claim("a")], "dead")
        assert make_claims(abandoned, [claim("a")], "heir") == {claim("a"): "there"}

    def test_not_when_it_may_still_be_at_work(self, db):
        make_claims(db, [claim("a")], "alive")
        assert make_claims(db, [claim("a")], "heir") == {claim("a"): "there"}
