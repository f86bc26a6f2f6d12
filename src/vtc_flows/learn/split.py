"""Training and test part of a table: each element in its share, near-duplicates on one side."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from vtc_flows.errors import InputError

Part = Literal["train", "test"]

#: The share of rows that are kept for tests in the VtC-XES anisotropy paper.
TEST_FRACTION = 0.2

#: Less than this is rounding, and would let groups change sides for ever.
_WORTHWHILE = 1e-12


def split(
    elements: Sequence[str],
    groups: Sequence[str],
    *,
    test_fraction: float = TEST_FRACTION,
    seed: int = 0,
) -> list[Part]:
    """
    Split rows into a training and a test part.

    Parameters
    ----------
    elements : sequence of str
        Of each row: rows of one element are split in the given ratio.
    groups : sequence of str
        Of each row: rows of one group stay together. Every row's own name is the plain split.
    test_fraction : float
        Share of the test part, above 0 and below 1.
    seed : int
        Another gives another split.

    Returns
    -------
    list of {"train", "test"}
        In the order of the rows.

    Raises
    ------
    InputError
        If the lengths differ, or the share is none.

    Notes
    -----
    Groups are taken in the order of a digest of their names. One changes sides, from training at
    first, if that brings the elements' shares nearer to what they should be (sum over the elements
    of the squared deviation, relative to the element's rows), until none does. So the split depends
    neither on the order of the rows nor on chance, and with further rows nearly all groups stay on
    their side. Where single groups hold a large part of an element, its share is as near as groups
    allow; the only row of an element is for training.

    Examples
    --------
    >>> split(["Fe"] * 4 + ["Ti"] * 4, ["a", "a", "b", "c", "d", "d", "e", "f"], test_fraction=0.25)
    ['train', 'train', 'train', 'test', 'train', 'train', 'train', 'test']
    """
    if len(elements) != len(groups):
        raise InputError(f"{len(elements)} elements and {len(groups)} groups of the same rows")
    if not 0.0 < test_fraction < 1.0:
        raise InputError(f"test_fraction {test_fraction:g} is not between 0 and 1")
    totals = Counter(elements)
    missing = {element: test_fraction * count for element, count in totals.items()}
    contents: dict[str, Counter[str]] = {}
    for element, group in zip(elements, groups, strict=True):
        contents.setdefault(group, Counter())[element] += 1
    order = sorted(contents, key=lambda name: _order(name, seed))
    test: set[str] = set()
    has_changed = True
    while has_changed:
        has_changed = False
        for group in order:
            sign = -1 if group in test else 1
            gain = sum(
                (2.0 * sign * missing[element] - count) * count / totals[element] ** 2
                for element, count in contents[group].items()
            )
            if gain > _WORTHWHILE:
                has_changed = True
                test ^= {group}
                for element, count in contents[group].items():
                    missing[element] -= sign * count
    return ["test" if group in test else "train" for group in groups]


def _order(group: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{group}".encode()).digest()
