"""Groups of models that tests do not distinguish."""

from __future__ import annotations

from itertools import combinations

import pytest

from evalhub_server.domain.statistics.rank_groups import MAX_GROUPS, undistinguished


@pytest.mark.parametrize(
    ("models", "distinguished", "groups"),
    [
        ("a", [], [("a",)]),
        ("abc", [], [("a", "b", "c")]),
        ("abc", [("a", "c")], [("a", "b"), ("b", "c")]),
        ("abc", [("a", "b"), ("c", "a"), ("b", "c")], [("a",), ("b",), ("c",)]),
        ("abcd", [("a", "c"), ("a", "d"), ("b", "d")], [("a", "b"), ("b", "c"), ("c", "d")]),
        ("abcd", [("a", "b"), ("c", "d")], [("a", "c"), ("a", "d"), ("b", "c"), ("b", "d")]),
    ],
)
def test_two_models_share_a_group_if_they_are_not_distinguished(
    models: str, distinguished: list[tuple[str, str]], groups: list[tuple[str, ...]]
) -> None:
    found = undistinguished(models, distinguished)
    assert list(found) == groups
    for pair in combinations(models, 2):
        together = any(set(pair) <= set(group) for group in found)
        assert together != (pair in distinguished or pair[::-1] in distinguished)


def test_more_groups_than_letters_are_none() -> None:
    models = [str(number) for number in range(2 * MAX_GROUPS)]
    assert undistinguished(models, list(combinations(models, 2))) == ()
