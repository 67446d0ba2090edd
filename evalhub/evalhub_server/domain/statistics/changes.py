"""How each sample changed between two runs: the items behind the counts of a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from msgspec import Struct

from evalhub_server.domain.statistics.columns import Prepared
from evalhub_server.domain.statistics.intervals import EQUAL_DIGITS
from evalhub_server.domain.statistics.pairing import changed_items

Change = Literal[
    "broken",
    "fixed",
    "both_failed",
    "both_passed",
    "unchanged",
    "not_scored",
    "only_baseline",
    "only_candidate",
]
"""``broken`` and ``fixed``: the score is worse, or better, than in the baseline. ``both_failed`` and ``both_passed``: right and
wrong answers that did not change; ``unchanged`` is the same for other scores. ``not_scored``: a run has no score of the item."""
CHANGES: tuple[Change, ...] = get_args(Change)
_CODES: Mapping[Change, int] = {change: code for code, change in enumerate(CHANGES)}


class ItemChanges(Struct, kw_only=True, frozen=True):
    """The changes of all items of a baseline and candidates.

    ``ids`` are those of the baseline in its order, then those that only candidates have. The other columns have a list for each
    candidate, in the order of ``ids``: positions in :data:`CHANGES`, -1 where neither run has the item, and the differences of
    scores, positive if the candidate is better, 0 without one. ``other_content`` has the items whose input or target differs from
    the baseline's in any candidate. ``order`` has all rows in the order of :data:`CHANGES`, that of the first one which an item has in
    any candidate, and then the largest difference first.
    """

    ids: list[str]
    changes: list[list[int]]
    differences: list[list[float]]
    other_content: list[str]
    order: list[int]

    def counts(self, candidate: int) -> dict[Change, int]:
        """The number of items by change, without changes that no item has."""
        counted = Counter(self.changes[candidate])
        return {change: counted[code] for code, change in enumerate(CHANGES) if counted[code]}

    def of(self, candidate: int, row: int) -> Change | None:
        code = self.changes[candidate][row]
        return None if code < 0 else CHANGES[code]

    def select(self, wanted: frozenset[Change], *, other_content: bool = False) -> list[int]:
        """The rows with one of the changes in any candidate (all rows without any), in their order.

        ``other_content``: only items with another input or target.
        """
        rows = self.order
        if wanted:
            codes = frozenset(_CODES[change] for change in wanted)
            if len(self.changes) == 1:
                (column,) = self.changes
                rows = [row for row in rows if column[row] in codes]
            else:
                rows = [row for row in rows if any(column[row] in codes for column in self.changes)]
        if other_content:
            named = frozenset(self.other_content)
            rows = [row for row in rows if self.ids[row] in named]
        return rows


def item_changes(baseline: Prepared, candidates: Sequence[Prepared]) -> ItemChanges:
    """The change of each item, from the same scores that :func:`compare_runs` compares."""
    ids = list(dict.fromkeys([*baseline.ids, *(name for each in candidates for name in each.ids)]))
    columns = [_changes(baseline, each, ids) for each in candidates]
    changed = dict.fromkeys(name for each in candidates for name in changed_items(baseline, each))
    return ItemChanges(
        ids=ids,
        changes=[codes for codes, _ in columns],
        differences=[differences for _, differences in columns],
        other_content=list(changed),
        order=_order(columns),
    )


def _order(columns: Sequence[tuple[list[int], list[float]]]) -> list[int]:
    firsts = [[code if code >= 0 else len(CHANGES) for code in codes] for codes, _ in columns]
    first = firsts[0] if len(firsts) == 1 else list(map(min, *firsts))
    sizes = [list(map(abs, differences)) for _, differences in columns]
    size = sizes[0] if len(sizes) == 1 else list(map(max, *sizes))
    # Two stable sorts of numbers are faster than one of tuples.
    rows = sorted(range(len(size)), key=size.__getitem__, reverse=True)
    rows.sort(key=first.__getitem__)
    return rows


def _changes(baseline: Prepared, candidate: Prepared, ids: Sequence[str]) -> tuple[list[int], list[float]]:
    sign = -1 if baseline.run.rules.lower_is_better else 1
    binary = baseline.binary and candidate.binary
    best = baseline.best_score
    fixed, broken, unchanged = _CODES["fixed"], _CODES["broken"], _CODES["unchanged"]
    passed, failed = _CODES["both_passed"], _CODES["both_failed"]
    codes: list[int] = []
    differences: list[float] = []
    for first, second in zip(_column(baseline, ids), _column(candidate, ids), strict=True):
        difference = 0.0
        if isinstance(first, float) and isinstance(second, float):
            if first == second:
                code = unchanged if not binary else passed if first == best else failed
            elif difference := round(sign * (second - first), EQUAL_DIGITS):
                code = fixed if difference > 0 else broken
            else:
                code = unchanged
        elif first is _ABSENT or second is _ABSENT:
            code = (
                -1 if first is second else _CODES["only_candidate" if first is _ABSENT else "only_baseline"]
            )
        else:
            code = _CODES["not_scored"]
        codes.append(code)
        differences.append(difference)
    return codes, differences


_ABSENT = "absent"


def _column(prepared: Prepared, ids: Sequence[str]) -> Sequence[float | str | None]:
    """The score of each item, None without one, :data:`_ABSENT` for an item that the run does not have."""
    if len(ids) == len(prepared.ids) and prepared.ids == tuple(ids):
        return prepared.values
    found = dict(zip(prepared.ids, prepared.values, strict=True))
    return [found.get(name, _ABSENT) for name in ids]
