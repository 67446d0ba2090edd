"""Control sequences in messages."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.domain.plain_text import plain_text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b[2J\x1b[1;1Hgone", "gone"),
        ("\x9b31mred", "red"),
        ("\x1b]0;title\x07text", "text"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x9d0;title\x9ctext", "text"),
        ("\x1bPdevice\x1b\\text", "text"),
        ("\x1b]0;no end, text", "0;no end, text"),
        ("\x1bc\x1b(Btext", "text"),
        ("bell\x07 nul\x00 back\x08space", "bell nul backspace"),
        ("abc\u202edef\u202c \u2066x\u2069 \u200f\u061c", "abcdef x "),
        ("\x1b\x00[31mred", "[31mred"),
        ("a\tb\nc", "a\tb\nc"),
        ("10%\r20%\r\nend\r", "20%\nend"),
        ("Grüße 你好 👩\u200d🔬", "Grüße 你好 👩\u200d🔬"),
    ],
)
def test_control_sequences_are_removed(text: str, expected: str) -> None:
    assert plain_text(text) == expected


@given(st.text(st.sampled_from("\x1b[]P\\\x07\x00\x9b\x9c\x9d\r\n\t0;mA\u202e\u2069\x7f")))
def test_nothing_that_a_terminal_acts_on_remains(text: str) -> None:
    cleaned = plain_text(text)
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", cleaned)
    assert plain_text(cleaned) == cleaned
