"""Adapter output as HTML."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.viewer.log_markup import LINE_CHARACTERS, Level, line_level, line_markup, log_markup

ESC = "\x1b"


def inner(line: str, query: str = "") -> str:
    html, _ = line_markup(line, query)
    return html.removeprefix('<bdi dir="ltr">').removesuffix("</bdi>")


@pytest.mark.parametrize(
    ("line", "html"),
    [
        ("plain <b>", "plain &lt;b&gt;"),
        (f"{ESC}[31mred{ESC}[0m plain", '<span class="ansi-1">red</span> plain'),
        (f"{ESC}[1;92mok{ESC}[22m!{ESC}[39m.", '<span class="ansi-10 ansi-bold">ok</span><span class="ansi-10">!</span>.'),
        (f"{ESC}[mreset {ESC}[41;97mwhite on red", 'reset <span class="ansi-15">white on red</span>'),
        (f"{ESC}[38;5;9ma{ESC}[38;5;196mb{ESC}[38;5;240mc", '<span class="ansi-9">a</span><span class="ansi-9">b</span><span class="ansi-8">c</span>'),
        (f"{ESC}[38;2;0;128;0mgreen", '<span class="ansi-2">green</span>'),
        (f"{ESC}[38:2:255:255:255mwhite", '<span class="ansi-15">white</span>'),
        (f"{ESC}[48;2;1;2;3;31mred", '<span class="ansi-1">red</span>'),
        (f"{ESC}[38mx{ESC}[38;7;31my{ESC}[9999999999mz", "xyz"),
        ("\x9b34mblue", '<span class="ansi-4">blue</span>'),
        (f"{ESC}]8;;https://evil.example{ESC}\\link{ESC}]8;;{ESC}\\", "link"),
        (f"{ESC}[2J{ESC}[1;1H{ESC}[?25lgone", "gone"),
        (f"{ESC}]0;title\x07x", "x"),
        ("\u202e\x00", '<span class="chip" title="U+202E RIGHT-TO-LEFT OVERRIDE">⟨RLO⟩</span><span class="chip" title="U+0000 CONTROL CHARACTER">␀</span>'),
        ("", ""),
    ],
)  # fmt: skip
def test_colours_are_classes_and_other_sequences_are_left_out(line: str, html: str):
    assert inner(line) == html


def test_a_long_line_is_cut():
    assert inner("x" * 10_000_000).endswith('<span class="omitted muted">… 9,998,000 more characters</span>')
    assert len(inner("x" * 10_000_000)) < LINE_CHARACTERS + 100


def test_a_line_has_a_bounded_number_of_colours():
    assert inner(f"{ESC}[31ma{ESC}[0mb" * 180).count("<span") == 50


def test_progress_bars_show_their_last_version():
    bar = "".join(f"\r{percent:3}%" for percent in range(101))
    (line,) = log_markup([f"start{bar}\r\n"])
    assert (line.html, line.rewrites) == ('<bdi dir="ltr">100%</bdi>', 101)
    assert next(log_markup(["plain\r\n"])).rewrites == 0


def test_equal_lines_are_shown_once_with_their_number():
    lines = ["a", "retrying", "retrying", "retrying", "b"]
    shown = list(log_markup(lines, first=10))
    assert [(line.first, line.last, line.repeats) for line in shown] == [
        (10, 10, 1),
        (11, 13, 3),
        (14, 14, 1),
    ]
    assert len(list(log_markup(lines, dedup=False))) == 5
    assert list(log_markup([])) == []


def test_the_time_at_the_beginning_does_not_count_for_equality():
    shown = list(log_markup([f"2026-11-29T21:06:{second:02}Z retrying" for second in range(5)]))
    assert [line.repeats for line in shown] == [5]


def test_gaps_between_times_are_marked():
    lines = [
        "2026-11-29T21:06:11.500Z a",
        "no time",
        "2026-11-29T21:06:20Z b",
        "2026-11-29T21:07:02.5Z c",
        "[2026-11-29 21:09:00,123] naive",
        "2026-11-29 21:09:10,123 naive later",
        "2026-99-29 21:09:10 no date",
        "2026-11-29 21:00:00 earlier",
    ]
    assert [line.gap_s for line in log_markup(lines)] == [None, None, None, 42.5, None, 10.0, None, None]


def test_a_gap_is_counted_from_the_last_repeat():
    lines = ["2026-11-29T21:06:00Z a", "2026-11-29T21:06:09Z a", "2026-11-29T21:06:18Z b"]
    assert [line.gap_s for line in log_markup(lines)] == [None, None]


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("2026-11-29 21:06:11 INFO start", "info"),
        (f"{ESC}[33mWARNING{ESC}[0m slow", "warning"),
        ("[error] failed", "error"),
        ('{"level": "critical", "event": "x"}', "error"),
        ("time=1 level=debug msg=x", "debug"),
        ("Traceback (most recent call last):", "error"),
        ("httpx.ConnectError: refused", "error"),
        ("KeyboardInterrupt", ""),
        ("the INFORMATION of an error", ""),
        ("x" * 300 + " ERROR", ""),
        ("  indented", ""),
    ],
)
def test_levels(line: str, level: Level):
    assert line_level(line) == level


def test_indented_lines_have_the_level_of_the_line_before():
    lines = ["Traceback (most recent call last):", '  File "x.py", line 1', "ValueError: no", "next"]
    assert [line.level for line in log_markup(lines)] == ["error", "error", "error", ""]


def test_the_searched_text_is_marked_across_colours():
    html, hits = line_markup(f"Time{ESC}[31mout timeout", "timeout")
    assert hits == 2
    assert html == (
        '<bdi dir="ltr"><mark>Time</mark><span class="ansi-1"><mark>out</mark></span>'
        '<span class="ansi-1"> </span><span class="ansi-1"><mark>timeout</mark></span></bdi>'
    )
    assert line_markup("a.b axb", ".")[1] == 1
    assert [line.hits for line in log_markup(["xx", "y"], query="X")] == [2, 0]


@given(
    st.text(st.sampled_from("ab <\r\n\x1b[]31;m\x9b\x07\x00\u202e"), max_size=60),
    st.sampled_from(["", "a", "[3", "b <"]),
)
def test_any_line_is_well_formed_and_without_control_characters(line: str, query: str):
    html, _ = line_markup(line.replace("\n", ""), query)
    ET.fromstring(f"<p>{html}</p>")
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202e]", html)
