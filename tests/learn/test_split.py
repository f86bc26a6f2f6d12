from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtc_flows.errors import InputError
from vtc_flows.learn.split import split

ROWS = st.lists(
    st.tuples(st.sampled_from(["Ti", "Fe", "Cu"]), st.integers(0, 40).map(str)), max_size=120
)


def campaign(n_groups: int, seed: int = 1) -> list[tuple[str, str]]:
    """Return rows as a campaign gives them: groups of some rows, now and then of two elements."""
    chance = random.Random(seed)
    metals = ["Ti", "Cr", "Mn", "Fe", "Ni", "Cu"]
    rows = []
    for group in range(n_groups):
        for element in chance.sample(metals, chance.choice([1, 1, 1, 2])):
            rows += [(element, f"group-{group}")] * chance.choice([1, 1, 1, 2, 5])
    return rows


def parts(rows, **given):
    return split([row[0] for row in rows], [row[1] for row in rows], **given)


@given(ROWS, st.integers(0, 5), st.floats(0.05, 0.95))
@settings(max_examples=60, deadline=None)
def test_groups_stay_together_and_order_does_not_count(rows, seed, share):
    given_parts = parts(rows, test_fraction=share, seed=seed)
    by_group = dict(zip([row[1] for row in rows], given_parts, strict=True))
    assert [by_group[group] for _, group in rows] == given_parts
    order = list(range(len(rows)))
    random.Random(0).shuffle(order)
    shuffled = parts([rows[i] for i in order], test_fraction=share, seed=seed)
    assert shuffled == [given_parts[i] for i in order]


@pytest.mark.parametrize("share", [0.1, 0.2, 0.5])
def test_every_element_has_its_share(share):
    rows = campaign(600)
    chosen = parts(rows, test_fraction=share)
    totals = Counter(element for element, _ in rows)
    tested = Counter(
        element for (element, _), part in zip(rows, chosen, strict=True) if part == "test"
    )
    for element, count in totals.items():
        # as near as half the largest group, and a little for groups of two elements
        assert abs(tested[element] - share * count) <= 4, element


def test_the_plain_split_is_exact():
    rows = [("Cu", str(i)) for i in range(444)] + [("Sc", f"x{i}") for i in range(444)]
    chosen = parts(rows)
    assert Counter(zip((row[0] for row in rows), chosen, strict=True)) == {
        (element, part): count
        for element in ("Cu", "Sc")
        for part, count in (("train", 355), ("test", 89))
    }


def test_another_seed_is_another_split():
    rows = campaign(50)
    assert parts(rows, seed=0) != parts(rows, seed=1)


def test_further_rows_move_few_groups():
    rows = campaign(600)
    before = dict(zip(rows, parts(rows), strict=True))
    more = [*rows, *(("Fe", f"new-{i}") for i in range(20))]
    after = dict(zip(more, parts(more), strict=True))
    moved = {group for (element, group), part in before.items() if after[element, group] != part}
    assert len(moved) < 0.03 * 600


def test_a_single_row_is_for_training():
    assert parts([("Sc", "a")]) == ["train"]
    assert parts([]) == []


@pytest.mark.parametrize("share", [0.0, 1.0, float("nan")])
def test_a_share_that_is_none_is_refused(share):
    with pytest.raises(InputError, match="between 0 and 1"):
        split(["Fe"], ["a"], test_fraction=share)


def test_lengths_must_agree():
    with pytest.raises(InputError, match="2 elements and 1 groups"):
        split(["Fe", "Fe"], ["a"])
