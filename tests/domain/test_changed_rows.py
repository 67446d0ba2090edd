"""Filters, facets and orders of compared samples."""

from __future__ import annotations

import pytest

from evalhub_server.domain.changed_rows import select_rows, sorted_rows
from evalhub_server.domain.statistics.changes import item_changes
from evalhub_server.domain.statistics.columns import prepare
from evalhub_server.domain.statistics.inputs import CompareOptions
from harness.evaluation_runs import a_run

LABELS = {"group": ["a", "a", "b", "b", ""], "metadata.year": ["1", "2", "1", "2", "1"]}


def counts(facets: object) -> dict[str, dict[str, int]]:
    return {each.name: {value.value: value.count for value in each.values} for each in facets}  # type: ignore[attr-defined]


def test_a_facet_counts_what_all_conditions_but_its_own_select() -> None:
    wanted = {"group": ["b", ""], "metadata.year": ["1"]}
    rows, facets = select_rows(range(5), LABELS, wanted, ["group", "metadata.year"])
    assert rows == [2, 4]
    assert counts(facets) == {"group": {"a": 1, "b": 1, "": 1}, "metadata.year": {"1": 2, "2": 1}}
    assert select_rows(range(5), LABELS, {}, []) == ([0, 1, 2, 3, 4], ())


@pytest.mark.parametrize(
    ("sort", "order"),
    [
        ("change", "cbad"),
        ("-delta", "cbad"),
        ("delta", "dabc"),
        ("sample_id", "abcd"),
        ("-sample_id", "dcba"),
    ],
)
def test_rows_are_sorted_by_change_difference_or_id(sort: str, order: str) -> None:
    baseline, candidate = a_run([0.5, 0.5, 0.5, 0.5], ids="abcd"), a_run([0.6, 0.3, 0.1, 0.5], ids="abcd")
    changes = item_changes(prepare(baseline, CompareOptions()), [prepare(candidate, CompareOptions())])
    rows = sorted_rows(changes.order, changes, sort)
    assert "".join(changes.ids[row] for row in rows) == order
