"""Warnings of the server in responses without a body."""

from __future__ import annotations

import pytest

from evalhub_server.client.transport import warning_text
from evalhub_server.web.responses import NO_CONTENT, no_content


@pytest.mark.parametrize(
    ("text", "read"),
    [
        ("Jobs may be left.", "Jobs may be left."),
        ('cannot list resource "jobs" in "team-a"', 'cannot list resource "jobs" in "team-a"'),
        ("a\\b", "a\\b"),
        ("two\nlines", "two lines"),
        ("Größe", "Gr??e"),
    ],
)
def test_a_warning_is_one_header_that_clients_can_read(text: str, read: str):
    headers = dict(no_content(text).headers)
    assert warning_text(headers[b"warning"].decode("ascii")) == read


def test_without_a_warning_there_is_no_header():
    assert no_content("") is NO_CONTENT
    assert warning_text("") == ""
