"""Alignment of tokens."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.viewer.alignment import Block, aligned, cells

TEXT = st.text("abc", max_size=20)


def longest_common(before: str, after: str) -> int:
    """The textbook's table."""
    row = [0] * (len(after) + 1)
    for token in before:
        above = row[:]
        for index, other in enumerate(after):
            row[index + 1] = above[index] + 1 if token == other else max(row[index], above[index + 1])
    return row[-1]


@pytest.mark.parametrize(
    ("before", "after", "blocks"),
    [
        ("", "", []),
        ("ab", "ab", [Block(True, 0, 2, 0, 2)]),
        ("ab", "", [Block(False, 0, 2, 0, 0)]),
        ("abc", "axc", [Block(True, 0, 1, 0, 1), Block(False, 1, 2, 1, 2), Block(True, 2, 3, 2, 3)]),
        ("aa", "aaa", [Block(True, 0, 2, 0, 2), Block(False, 2, 2, 2, 3)]),
    ],
)
def test_blocks(before: str, after: str, blocks: list[Block]):
    assert aligned(before, after) == blocks


def test_common_ends_are_no_work():
    assert cells("xxabyy", "xxcyy") == 2
    assert cells("same", "same") == 0


@given(TEXT, TEXT)
def test_equal_blocks_are_a_longest_common_subsequence(before: str, after: str):
    blocks = aligned(before, after)
    assert "".join(before[b.before_start : b.before_end] for b in blocks) == before
    assert "".join(after[b.after_start : b.after_end] for b in blocks) == after
    assert all(first.equal != second.equal for first, second in pairwise(blocks))
    equal = [
        (before[b.before_start : b.before_end], after[b.after_start : b.after_end]) for b in blocks if b.equal
    ]
    assert all(one == other for one, other in equal)
    assert sum(len(one) for one, _ in equal) == longest_common(before, after)
