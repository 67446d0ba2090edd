"""How each sample changed between two runs: the items behind the counts of a comparison."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

from msgspec import Struct

from evalhub_server.domain.statistics.columns import Prepared
from evalhub_server.domain.statistics.differences import oriented
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
    the baseline's in any candidate.
    """

    ids: list[str]
    changes: list[list[int]]
    differences: list[list[float]]
    other_content: list[str]

    def counts(self, candidate: int) -> dict[Change, int]:
        """The number of items by change, without changes that no item has."""
        counted = Counter(self.changes[candidate])
        return {change: counted[code] for code, change in enumerate(CHANGES) if counted[code]}

    def of(self, candidate: int, row: int) -> Change | None:
        code = self.changes[candidate][row]
        return None if code < 0 else CHANGES[code]

    def select(self, wanted: frozenset[Change], *, other_content: bool = False) -> list[int]:
        """The rows with one of the changes in any candidate (all rows without any), in the order of :data:`CHANGES`, the largest
        difference first. ``other_content``: only items with another input or target."""
        codes = {_CODES[change] for change in wanted}
        rows: Sequence[int] = range(len(self.ids))
        if wanted:
            rows = [row for row in rows if any(column[row] in codes for column in self.changes)]
        if other_content:
            named = frozenset(self.other_content)
            rows = [row for row in rows if self.ids[row] in named]

        def order(row: int) -> tuple[int, float]:
            known = [
                column[row]
                for column in self.changes
                if column[row] in codes or (not codes and column[row] >= 0)
            ]
            return min(known, default=len(CHANGES)), -max(
                (abs(column[row]) for column in self.differences), default=0.0
            )

        return sorted(rows, key=order)


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
    )


def _changes(baseline: Prepared, candidate: Prepared, ids: Sequence[str]) -> tuple[list[int], list[float]]:
    lower = baseline.run.rules.lower_is_better
    binary = baseline.binary and candidate.binary
    same = _CODES["both_failed"], _CODES["both_passed"]
    codes: list[int] = []
    differences: list[float] = []
    for name in ids:
        row, other = baseline.rows.get(name), candidate.rows.get(name)
        difference = 0.0
        if row is None or other is None:
            code = (
                -1 if row is other is None else _CODES["only_candidate" if row is None else "only_baseline"]
            )
        elif (first := baseline.values[row]) is None or (second := candidate.values[other]) is None:
            code = _CODES["not_scored"]
        else:
            (difference,) = oriented((first,), (second,), lower_is_better=lower)
            difference = round(difference, EQUAL_DIGITS)
            if difference:
                code = _CODES["fixed" if difference > 0 else "broken"]
            else:
                code = same[first == baseline.best_score] if binary else _CODES["unchanged"]
        codes.append(code)
        differences.append(difference)
    return codes, differences
