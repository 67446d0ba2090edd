"""Differences of texts."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.viewer.text import DETAIL_CHARACTERS
from evalhub_server.viewer.word_diff import (
    Passage,
    Unit,
    Whitespace,
    answer_html,
    answer_span,
    diff_html,
    text_diff,
)

TEXT = st.text(st.sampled_from("ab1. \n\t你é\u0301\u202e<"), max_size=30)
UNITS: list[Unit] = ["words", "chars"]


def marked(before: str, after: str, unit: Unit = "words", whitespace: Whitespace = "show") -> str:
    """The difference in the notation of wdiff."""
    return "".join(
        passage.after
        if passage.equal
        else (f"[-{passage.before}-]" if passage.before else "")
        + (f"{{+{passage.after}+}}" if passage.after else "")
        for passage in text_diff(before, after, unit=unit, whitespace=whitespace).passages
    )


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("115", "114", "[-115-]{+114+}"),
        ("The answer is 3.14.", "The answer is 3.15.", "The answer is [-3.14-]{+3.15+}."),
        ("the black cat sat", "the white dog sat", "the [-black cat-]{+white dog+} sat"),
        ("a b", "a  b", "a {+ +}b"),
        ("one\ntwo", "one\n2", "one\n[-two-]{+2+}"),
        ("你好世界", "你好朋友", "你好[-世界-]{+朋友+}"),
        ("same", "same", "same"),
        ("", "new", "{+new+}"),
        ("", "", ""),
    ],
)
def test_words(before: str, after: str, shown: str):
    assert marked(before, after) == shown


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("115", "114", "11[-5-]{+4+}"),
        ("colour", "color", "colo{+r+}"[:4] + "[-u-]r"),
        ("e\u0301", "e", "[-e\u0301-]{+e+}"),
        # Equal characters between larger changes are not worth reading.
        ("abcd", "wbyz", "[-abcd-]{+wbyz+}"),
    ],
)
def test_characters(before: str, after: str, shown: str):
    assert marked(before, after, "chars") == shown


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    ("before", "after", "equal"),
    [
        ("a  b\n", " a b", True),
        ("a b", "a\nb", True),
        ("  ", "", True),
        ("a b", "a c", False),
    ],
)
def test_whitespace_can_be_ignored(unit: Unit, before: str, after: str, equal: bool):
    assert text_diff(before, after, unit=unit, whitespace="ignore").equal is equal
    assert not text_diff(before, after, unit=unit).equal


def test_ignored_whitespace_stays_with_its_text():
    diff = text_diff(" 115  apples", "114 apples ", whitespace="ignore")
    assert diff.passages == (Passage(False, " 115  ", "114 "), Passage(True, "apples", "apples "))


def test_each_pane_shows_its_side():
    diff = text_diff("It is 115 <b>", "It is 114 <b>")
    assert diff_html(diff) == '<bdi dir="auto">It is <del>115</del><ins>114</ins> &lt;b&gt;</bdi>'
    assert diff_html(diff, "before") == '<bdi dir="auto">It is <del>115</del> &lt;b&gt;</bdi>'
    assert diff_html(diff, "after") == '<bdi dir="auto">It is <ins>114</ins> &lt;b&gt;</bdi>'


def test_changed_whitespace_is_visible():
    html = diff_html(text_diff("a b\tc", "a  b\n\tc"))
    assert html == '<bdi dir="auto">a <ins>·</ins>b<ins>⏎\n</ins>\tc</bdi>'


def test_the_extracted_answer_is_marked_inside_the_response():
    diff = text_diff("115", "65 + 50 = 114")
    assert '<ins><mark class="answer">114</mark></ins>' in diff_html(diff, "after", answer="114")
    across = text_diff("a b", "a c")
    assert diff_html(across, "after", answer="a c") == (
        '<bdi dir="auto"><mark class="answer">a </mark><ins><mark class="answer">c</mark></ins></bdi>'
    )
    assert "<mark" not in diff_html(across, "before", answer="a")
    assert answer_html("It is B.", "B") == '<bdi dir="auto">It is <mark class="answer">B</mark>.</bdi>'
    assert answer_html("It is C.", "B") == '<bdi dir="auto">It is C.</bdi>'


@pytest.mark.parametrize(
    ("text", "answer", "span"),
    [
        ("5 or 15 or 5, not 55", " 5 ", (11, 12)),
        ("555", "5", (2, 3)),
        ("none", "5", None),
        ("text", " ", None),
    ],
)
def test_the_answer_is_the_last_whole_word(text: str, answer: str, span: tuple[int, int] | None):
    assert answer_span(text, answer) == span


@pytest.mark.parametrize("unit", UNITS)
def test_long_texts_are_cut_and_the_cut_is_named(unit: Unit):
    diff = text_diff("x" * (DETAIL_CHARACTERS + 1), "x" * DETAIL_CHARACTERS, unit=unit)
    assert diff.equal
    assert diff.notes == ("Only the first 65,536 characters of the first text were compared.",)
    assert not text_diff("abc", "ab", limit=2).passages[1:]


@pytest.mark.parametrize("unit", UNITS)
def test_texts_that_differ_too_much_are_shown_as_replaced(unit: Unit):
    for before, after in (
        ("-+*" * 20_000, "+-/" * 20_000),
        ("-\n" * 30_000, "+\n" * 30_000),
    ):
        diff = text_diff(before, after, unit=unit)
        assert diff.passages == (Passage(False, before, after),)
        assert diff.notes[0].startswith("The texts differ too much")


def test_very_long_words_are_shown_as_replaced():
    diff = text_diff("a" * DETAIL_CHARACTERS, "b" * DETAIL_CHARACTERS, unit="chars")
    assert len(diff.passages) == 1
    assert diff.notes


def lines(changed: str, count: int = 1_000) -> str:
    return "".join(
        f"line {index}: {'-+ ' * 12}{changed if index % 100 == 0 else ''}\n" for index in range(count)
    )


@pytest.mark.parametrize("unit", UNITS)
def test_lines_narrow_down_what_is_compared_in_detail(unit: Unit):
    diff = text_diff(lines("old"), lines("new"), unit=unit)
    changes = [passage for passage in diff.passages if not passage.equal]
    assert [(change.before, change.after) for change in changes] == [("old", "new")] * 10
    assert not diff.notes


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("whitespace", ["show", "ignore"])
def test_sentences_narrow_down_a_long_line(unit: Unit, whitespace: Whitespace):
    before = " ".join(f"This is sentence {index}, it is not long." for index in range(1_600))
    after = before.replace("sentence 1, it is", "sentence 1, it was").replace(
        "sentence 1500,", "phrase 1500,"
    )
    diff = text_diff(before, after, unit=unit, whitespace=whitespace)
    changes = [(p.before.strip(), p.after.strip()) for p in diff.passages if not p.equal]
    assert len(changes) == 2 if unit == "words" else len(changes) >= 2
    assert not diff.notes
    if unit == "words":
        assert changes == [("is", "was"), ("sentence", "phrase")]


def test_characters_are_compared_within_changed_words():
    before = " ".join(f"w{index:05}" for index in range(7_000))
    diff = text_diff(before, before.replace("w", "v", 1)[:-1] + "x", unit="chars")
    assert [(p.before, p.after) for p in diff.passages if not p.equal] == [("w", "v"), ("9", "x")]


def test_a_passage_without_detail_stays_replaced():
    before = "first line\n" + "-+*" * 20_000 + "\nsame\n"
    after = "another line\n" + "+-/" * 20_000 + "\nsame\n"
    diff = text_diff(before, after)
    assert diff.notes
    assert "".join(p.before for p in diff.passages) == before


@pytest.mark.parametrize("text", ["\u202e", "a\u202e", "\x1b"])
def test_hostile_text_does_not_multiply_bytes(text: str):
    diff = text_diff(text * 30_000, f"{text}b" * 20_000)
    assert len(diff_html(diff)) < 2_000_000


@pytest.mark.parametrize("unit", UNITS)
@given(before=TEXT, after=TEXT)
def test_passages_are_the_whole_texts(unit: Unit, before: str, after: str):
    diff = text_diff(before, after, unit=unit)
    assert "".join(passage.before for passage in diff.passages) == before
    assert "".join(passage.after for passage in diff.passages) == after
    assert all(passage.before == passage.after for passage in diff.passages if passage.equal)
    for side in ("before", "after", "both"):
        ET.fromstring(f"<p>{diff_html(diff, side, answer=after[3:6])}</p>")


@pytest.mark.parametrize("unit", UNITS)
@given(before=TEXT, after=TEXT)
def test_equality_without_whitespace(unit: Unit, before: str, after: str):
    diff = text_diff(before, after, unit=unit, whitespace="ignore")
    if diff.equal:
        assert "".join(before.split()) == "".join(after.split())
    if before.split() == after.split():
        assert diff.equal
