"""Verdicts on scores in words."""

from __future__ import annotations

import pytest

from evalhub_server.domain.verdicts import words_of_test


@pytest.mark.parametrize(
    ("passed", "limits", "lower", "text"),
    [
        (True, (0.85, 0.9), False, "passed; the whole interval lies above"),
        (True, (0.75, 0.9), False, "passed; the interval includes the threshold"),
        (False, (0.6, 0.7), False, "not passed; the whole interval lies below"),
        (False, (0.6, 0.81), False, "not passed; the interval includes the threshold"),
        (True, (0.1, 0.2), True, "passed; the whole interval lies below"),
        (False, (0.85, 0.9), True, "not passed; the whole interval lies above"),
        (True, None, False, "passed; no interval is known"),
    ],
)
def test_a_test_is_described_with_its_interval(
    passed: bool, limits: tuple[float, float] | None, lower: bool, text: str
) -> None:
    assert str(words_of_test(passed, 0.8, limits, lower_is_better=lower)) == text
