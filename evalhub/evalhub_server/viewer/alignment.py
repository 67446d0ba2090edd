"""Longest common subsequence of two lists of tokens, by whole rows of bits.

The algorithm is the one of Crochemore, Iliopoulos, Pinzon and Reid (2001), with Python's integers as rows: 16,000 tokens
against 16,000 take about 0.1 s and 32 MB.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

MAX_CELLS = 1 << 28
"""Maximum product of the lengths, after the common beginning and end."""


class Block(NamedTuple):
    """A passage: ``before[before_start:before_end]`` became ``after[after_start:after_end]``, or stayed ``equal``."""

    equal: bool
    before_start: int
    before_end: int
    after_start: int
    after_end: int


def cells(before: Sequence[str], after: Sequence[str]) -> int:
    """The work of an alignment, to compare with :data:`MAX_CELLS`."""
    start, end = _common_ends(before, after)
    return (len(before) - start - end) * (len(after) - start - end)


def aligned(before: Sequence[str], after: Sequence[str]) -> list[Block]:
    """The passages of two lists in order, equal and changed ones in turn."""
    start, end = _common_ends(before, after)
    pairs = [(index, index) for index in range(start)]
    pairs += _pairs(before, after, start, end)
    pairs += [(len(before) - left, len(after) - left) for left in range(end, 0, -1)]
    return _blocks(pairs, len(before), len(after))


def _common_ends(before: Sequence[str], after: Sequence[str]) -> tuple[int, int]:
    """The numbers of tokens that are equal at the beginning and, of the others, at the end."""
    shorter = min(len(before), len(after))
    start = 0
    while start < shorter and before[start] == after[start]:
        start += 1
    end = 0
    while end < shorter - start and before[-1 - end] == after[-1 - end]:
        end += 1
    return start, end


def _pairs(before: Sequence[str], after: Sequence[str], start: int, end: int) -> list[tuple[int, int]]:
    """The positions of equal tokens between the common ends."""
    first, second = before[start : len(before) - end], after[start : len(after) - end]
    positions = dict.fromkeys(second, 0)  # only these: a row of bits for each token would be large
    for index, token in enumerate(first):
        if token in positions:
            positions[token] |= 1 << index
    everything = (1 << len(first)) - 1
    # Bit i of a row is 0 where the subsequence grows with token i of the first list.
    row = everything
    rows: list[int] = []
    for token in second:
        hits = row & positions[token]
        row = ((row + hits) | (row - hits)) & everything
        rows.append(row)
    found: list[tuple[int, int]] = []
    i, j = len(first), len(second)
    while i and j:
        if first[i - 1] == second[j - 1]:
            i, j = i - 1, j - 1
            found.append((start + i, start + j))
        elif rows[j - 1] >> (i - 1) & 1:
            i -= 1
        else:
            j -= 1
    return found[::-1]


def _blocks(pairs: Sequence[tuple[int, int]], before: int, after: int) -> list[Block]:
    blocks: list[Block] = []
    i = j = run = 0
    for left, right in [*pairs, (before, after)]:
        if (left, right) != (i, j):
            if run:
                blocks.append(Block(True, i - run, i, j - run, j))
            blocks.append(Block(False, i, left, j, right))
            run = 0
        i, j, run = left + 1, right + 1, run + 1
    if run > 1:  # the end is not a pair
        blocks.append(Block(True, before - run + 1, before, after - run + 1, after))
    return blocks
