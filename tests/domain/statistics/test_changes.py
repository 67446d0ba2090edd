"""How each sample changed between runs."""

from __future__ import annotations

from msgspec.structs import replace

from evalhub_server.domain.statistics.changes import ItemChanges, item_changes
from evalhub_server.domain.statistics.columns import prepare
from evalhub_server.domain.statistics.compare import compare_runs
from evalhub_server.domain.statistics.inputs import CompareOptions, Run
from harness.evaluation_runs import SHARE, a_run, binary_pair

OPTIONS = CompareOptions()


def changes(baseline: Run, *candidates: Run) -> ItemChanges:
    return item_changes(prepare(baseline, OPTIONS), [prepare(each, OPTIONS) for each in candidates])


def test_right_and_wrong_answers_are_counted_as_in_the_comparison():
    one, two = binary_pair(5, 3, 2, 4)
    found = changes(a_run(one), a_run(two))
    assert found.counts(0) == {"broken": 2, "fixed": 3, "both_failed": 4, "both_passed": 5}
    flips = compare_runs(a_run(one), a_run(two)).flips
    assert flips is not None
    assert [found.ids[row] for row in found.select(frozenset({"broken"}))] == [*flips.broken_ids]
    assert [found.ids[row] for row in found.select(frozenset({"fixed"}))] == [*flips.fixed_ids]


def test_where_lower_is_better_a_lower_score_is_fixed():
    rules = replace(SHARE, lower_is_better=True)
    found = changes(a_run([0.0, 1.0, 1.0, 0.0], rules=rules), a_run([1.0, 0.0, 1.0, 0.0], rules=rules))
    assert [found.of(0, row) for row in range(4)] == ["broken", "fixed", "both_failed", "both_passed"]


def test_samples_without_partner_or_score_are_named():
    one = a_run([1.0, None, 1.0], ids=["a", "b", "c"])
    two = a_run([1.0, 1.0, 0.0], ids=["a", "b", "d"])
    three = a_run([0.0], ids=["e"])
    found = changes(one, two, three)
    assert found.ids == ["a", "b", "c", "d", "e"]
    rows = range(5)
    assert [found.of(0, row) for row in rows] == [
        "both_passed",
        "not_scored",
        "only_baseline",
        "only_candidate",
        None,
    ]
    assert [found.of(1, row) for row in rows] == ["only_baseline"] * 3 + [None, "only_candidate"]
    assert found.select(frozenset({"only_candidate"})) == [3, 4]


def test_the_largest_differences_come_first():
    found = changes(a_run([0.5, 0.5, 0.5, 0.5]), a_run([0.4, 0.1, 0.5, 0.9]))
    assert found.counts(0) == {"broken": 2, "fixed": 1, "unchanged": 1}
    assert found.select(frozenset({"broken", "fixed"})) == [1, 0, 3]
    assert found.select(frozenset()) == [1, 0, 3, 2]


def test_samples_with_another_input_or_target_can_be_selected():
    one = a_run([1.0, 0.0], key_hashes=["x", "y"])
    two = a_run([1.0, 1.0], key_hashes=["x", "z"])
    found = changes(one, two)
    assert found.other_content == ["s0001"]
    assert found.select(frozenset(), other_content=True) == [1]
    assert found.select(frozenset({"broken"}), other_content=True) == []
