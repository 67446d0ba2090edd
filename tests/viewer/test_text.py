"""Hostile and foreign text in pages."""

from __future__ import annotations

import re
import unicodedata
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.viewer.text import (
    CELL_CHARACTERS,
    DETAIL_CHARACTERS,
    MAX_CHIPS,
    cell,
    detail,
    invisible_badge,
    neutralised,
    omitted_note,
    visible,
)

RLO, ZWSP, ZWNJ, ZWJ, SURROGATE = "\u202e", "\u200b", "\u200c", "\u200d", "\ud83d"
TAGS = "".join(chr(0xE0000 + ord(character)) for character in "say <b>")

HOSTILE = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(
            "\x00\t\n\r\x1b\x7f\x9b\u200b\u200d\u202e\u2066\ufe0f\ufeff\ud800\u0301\u115f\U000e0041<>&\"'=👩م"
        ),
    ),
    max_size=60,
)
NEVER_SHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\U000e0000-\U000e0fff]"
)


def text_of(html: str) -> str:
    return "".join(ET.fromstring(f"<p>{html}</p>").itertext())


def test_ordinary_text_is_escaped_and_isolated():
    assert cell("""<img src=x onerror="alert(1)">""") == (
        '<bdi dir="auto">&lt;img src=x onerror=&#34;alert(1)&#34;&gt;</bdi>'
    )


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[31mb", "a␛[31mb"),
        ("\x00\x7f\r", "␀␡␍"),
        ("\x9b", "⟨U+009B⟩"),
        (f"{RLO}evil", "⟨RLO⟩evil"),
        (f"a{ZWSP}b\ufeff", "a⟨ZWSP⟩b⟨BOM⟩"),
        (f"pass{ZWJ}word", "pass⟨ZWJ⟩word"),
        (TAGS, "⟨TAG say <b>⟩"),
        ("\U000e0100", "⟨VS17⟩"),
        ("\ufe0f\ufe0f", "⟨VS16⟩⟨VS16⟩"),
        ("a\ufe0e\ufe0f", "a\ufe0e⟨VS16⟩"),
        (SURROGATE, "\ufffd"),
        ("x\u2028y\u00adz", "x⟨LS⟩y⟨SHY⟩z"),
        ("\uffff", "⟨U+FFFF⟩"),
        ("a" + "\u0301" * 100_000, "a" + "\u0301" * 8 + "⟨+99,992 marks⟩"),
        ("❤\ufe0f 👩\u200d🔬", "❤\ufe0f 👩\u200d🔬"),
        (f"می{ZWNJ}خواهم", f"می{ZWNJ}خواهم"),
        ("Tiếng Việt, e\u0302\u0301", "Tiếng Việt, e\u0302\u0301"),
        ("line\n\tindented", "line\n\tindented"),
    ],
)
def test_invisible_characters_become_visible(text: str, shown: str):
    assert text_of(neutralised(text, 200_000).html) == shown
    assert visible(text, 200_000) == shown.replace("\n\t", "⏎  ")


def test_a_chip_has_the_full_name():
    assert neutralised(RLO).html == '<span class="chip" title="U+202E RIGHT-TO-LEFT OVERRIDE">⟨RLO⟩</span>'
    assert 'title="U+001B CONTROL CHARACTER"' in neutralised("\x1b").html
    assert 'title="7 invisible tag characters"' in neutralised(TAGS).html
    assert 'title="U+D83D half of a surrogate pair"' in neutralised(SURROGATE).html
    assert 'title="U+FFFF"' in neutralised("\uffff").html


def test_a_badge_counts_invisible_characters_but_not_visible_symbols():
    assert cell(f"a{RLO}b{TAGS}\x1b").endswith('<span class="invisible-badge">8 invisible characters</span>')
    assert ">1 invisible character<" in cell(ZWSP)
    assert "badge" not in cell("a\x1b\u00e9")
    assert not invisible_badge(0)


def test_a_cell_is_one_line_that_says_what_was_cut():
    assert text_of(cell("a\nb\tc")) == "a⏎ b c"
    long = "x" * (CELL_CHARACTERS + 1_234)
    assert text_of(cell(long)) == "x" * CELL_CHARACTERS + " … 1,234 more characters"
    assert text_of(cell(f"{long[:160]}y")).endswith("… 1 more character")
    assert not omitted_note(0)
    assert visible(long) == "x" * CELL_CHARACTERS + "…"


def test_detail_keeps_line_breaks_and_is_cut_too():
    text = "line\n" * DETAIL_CHARACTERS
    shown = text_of(detail(text))
    assert shown.startswith("line\nline\n")
    assert shown.endswith(f"… {len(text) - DETAIL_CHARACTERS:,} more characters")
    assert detail("a\nb") == '<bdi dir="auto">a\nb</bdi>'


@pytest.mark.parametrize("unit", [RLO, f"a{RLO}", "\x1b", SURROGATE, "\ufe0f", "a\u0301", "\U000e0041", "&"])
def test_hostile_text_does_not_multiply_bytes(unit: str):
    html = detail(unit * 10_000_000)
    assert len(html.encode()) < 14 * DETAIL_CHARACTERS
    assert html.count("<span") <= MAX_CHIPS * 2 + 2


@given(HOSTILE)
def test_shown_text_never_has_control_bidi_or_tag_characters(text: str):
    for html in (cell(text), detail(text), neutralised(text).html):
        assert not NEVER_SHOWN.search(html)
        assert not NEVER_SHOWN.search(text_of(html))
    assert not re.search(r"[\t\n]", visible(text))
    assert not NEVER_SHOWN.search(visible(text))


def test_every_control_and_format_character_is_replaced():
    kept = [
        f"U+{code:04X}"
        for code in range(0x110000)
        if unicodedata.category(character := chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp")
        and character in neutralised(f"a{character}b").html
    ]
    # Tab, line feed, and format characters with a glyph.
    signs = [0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x6DD, 0x70F, 0x890, 0x891, 0x8E2, 0x110BD, 0x110CD]
    assert kept == [f"U+{code:04X}" for code in (0x9, 0xA, *signs)]


@given(HOSTILE)
def test_visible_text_is_kept(text: str):
    kept = [c for c in text if unicodedata.category(c)[0] in "LNPS" and not NEVER_SHOWN.match(c)]
    hidden = "\u115f\u1160\u3164\uffa0"
    shown = iter(text_of(neutralised(text).html))
    assert all(c in shown for c in kept if c not in hidden)
