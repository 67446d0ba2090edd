"""Rows of a page as Markdown."""

from __future__ import annotations

import math

from evalhub_server.viewer.markdown_table import CELL_CHARACTERS, markdown_table


def body(*row: object) -> str:
    columns = [f"c{number}" for number in range(len(row))]
    return b"".join(markdown_table(columns, [row])).decode().splitlines()[2]


def test_foreign_text_is_one_visible_cell():
    assert body("a\u202eb|c\nd\x1b[31m", 0.125, True, None, {"k": "\u200b"}) == (
        r"| a⟨RLO⟩b\|c⏎ d␛\[31m | 0.125 | true | – | {"
        '"k":"⟨ZWSP⟩"} |'
    )


def test_missing_numbers_are_a_dash():
    assert body(math.nan, math.inf, None, 0, 0.0) == "| – | – | – | 0 | 0 |"


def test_a_surrogate_and_a_long_text_are_replaced_and_cut():
    assert body("\ud800") == "| \ufffd |"
    assert len(body("x" * 10_000_000)) == CELL_CHARACTERS + len("| … |")
