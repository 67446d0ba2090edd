"""Tables in each format, with content that the format could take for its own syntax."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.domain.table_formats import FORMATS, spreadsheet_text

COLUMNS = ("name", "value", "extra")
ROWS: list[tuple[Any, ...]] = [
    ("a,b", 0.1 + 0.2, {"k": [1, None]}),
    ('=HYPERLINK("x")', -1.5, ("x", "y")),
    ("line\nbreak | pipe & 5% of #1_{x}", None, True),
]


def written(kind: str, rows: list[tuple[Any, ...]]) -> str:
    _, write = FORMATS[kind]
    return b"".join(write(COLUMNS, rows)).decode()


def test_csv_neutralises_formulas_and_keeps_numbers():
    header, *rows = csv.reader(io.StringIO(written("csv", ROWS), newline=""))
    assert header == list(COLUMNS)
    assert rows == [
        ["a,b", "0.30000000000000004", '{"k":[1,null]}'],
        ['\'=HYPERLINK("x")', "-1.5", '["x","y"]'],
        ["line\nbreak | pipe & 5% of #1_{x}", "", "true"],
    ]


@pytest.mark.parametrize("text", ["-5", "+3.", "-.5", "-1.25e-07", "5", ""])
def test_a_text_that_is_a_number_is_not_a_formula(text: str):
    assert spreadsheet_text(text) == text


@pytest.mark.parametrize(
    "text", ["=1", "-5+cmd|' /C calc'!A0", "+1\n", "-", "-e5", "@SUM(1)", "\t=1", "\r=1", "-1e5x"]
)
def test_a_text_that_begins_like_a_formula_gets_an_apostrophe(text: str):
    assert spreadsheet_text(text) == f"'{text}"


def test_json_is_a_list_of_objects():
    assert json.loads(written("json", ROWS)) == [
        dict(zip(COLUMNS, json.loads(json.dumps(row)), strict=True)) for row in ROWS
    ]
    assert json.loads(written("json", [])) == []


def test_markdown_escapes_what_would_end_a_cell():
    assert written("md", ROWS[2:]) == (
        "| name | value | extra |\n| --- | --- | --- |\n| line break \\| pipe & 5% of #1\\_{x} |  | true |\n"
    )


def test_latex_escapes_its_special_characters():
    assert written("latex", ROWS[2:]) == (
        "\\begin{tabular}{lll}\n\\toprule\nname & value & extra \\\\\n\\midrule\n"
        "line break | pipe \\& 5\\% of \\#1\\_\\{x\\} &  & true \\\\\n\\bottomrule\n\\end{tabular}\n"
    )


@pytest.mark.parametrize("kind", ["csv", "md", "latex"])
def test_numbers_that_are_not_finite_are_empty(kind: str):
    assert written(kind, [(math.nan, math.inf, "x")]) == written(kind, [(None, None, "x")])


def test_numbers_for_people_are_rounded():
    assert "| 0.3 |" in written("md", ROWS[:1])


@pytest.mark.parametrize("kind", FORMATS)
@given(text=st.text())
def test_any_text_is_one_cell(kind: str, text: str):
    plain = written(kind, [(text, 1, "")])
    if kind == "json":
        assert json.loads(plain)[0]["name"] == text.encode(errors="replace").decode()
    elif kind == "csv":
        (_, row) = csv.reader(io.StringIO(plain, newline=""))
        assert row[0].removeprefix("'").removeprefix("'") in (text, text.removeprefix("'").removeprefix("'"))
        assert not row[0].startswith(("=", "+", "-", "@")) or re.fullmatch(r"[+-][0-9.eE+-]+", row[0])
    else:
        assert len(plain.splitlines()) == len(written(kind, [("x", 1, "")]).splitlines())
