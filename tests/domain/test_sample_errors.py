"""Errors of samples, grouped by their message."""

from __future__ import annotations

import json

from evalhub_server.domain.sample_errors import MAX_CHARACTERS, MAX_GROUPS, SampleErrors, grouped_errors


def lines(*errors: object) -> list[bytes]:
    return [json.dumps({"sample_id": "s", "error": error}).encode() for error in errors]


def test_errors_are_counted_by_the_first_line_of_their_message() -> None:
    found = grouped_errors(9, lines("timeout\n  at a", "timeout\n  at b", "\nrefused", "x" * 1000, 5))
    assert found == SampleErrors(9, 5, (("timeout", 2), ("refused", 1), ("x" * MAX_CHARACTERS, 1), ("", 1)))


def test_only_the_most_frequent_messages_are_kept() -> None:
    found = grouped_errors(30, lines(*(f"error {number}" for number in range(30))))
    assert len(found.groups) == MAX_GROUPS
