"""Log lines: one JSON object each, whatever text clients send."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from evalhub_common.json_log import json_line


@given(st.text())
def test_any_text_stays_on_its_line_and_moves_no_cursor(text: str):
    line = json_line("info", text, {"uri": text})
    assert line.isprintable()
    assert json.loads(line)["uri"] == text


def test_terminal_escapes_are_escaped():
    nasty = "\x1b[2J \x9b31m \x7f \r\n \u2028 \u202e \U000e0041"
    line = json_line("info", "m", {"uri": nasty})
    assert line.isprintable()
    assert json.loads(line)["uri"] == nasty
