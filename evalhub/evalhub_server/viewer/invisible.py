"""Characters that are invisible or change how other text is displayed, and their names.

Ranges: Unicode's categories Cc, Cf, Zl and Zp, ``Default_Ignorable_Code_Point`` and noncharacters. Some of them are part
of ordinary spelling and are left alone: format characters with a glyph, such as U+0600; one variation selector after a
visible character; a zero-width joiner within an emoji; one joiner or non-joiner between letters of Arabic and Indic
scripts.
"""

from __future__ import annotations

import re
import unicodedata

MAX_MARKS = 8
"""Combining marks in a row that are shown; Vietnamese and Hebrew need at most four."""

_CONTROL = "\x00-\x08\x0b-\x1f\x7f-\x9f"
_SURROGATE = "\ud800-\udfff"
_TAG = "\U000e0020-\U000e007e"
_BASIC_FORMAT = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0"
    "\ufdd0-\ufdef\ufff0-\ufffb\ufffe\uffff"
)
_FORMAT = (
    f"{_BASIC_FORMAT}\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e001f\U000e007f-\U000e0fff"
)
_SELECTOR = "\ufe00-\ufe0f"
_JOINER = "\u200c\u200d"
_MARK = (
    "\u0300-\u034e\u0350-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u0e31\u0e34-\u0e3a\u0e47-\u0e4e"
    "\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\u302a-\u302d\u3099\u309a\ufe20-\ufe2f"
)
_EMOJI = "\u2190-\u2bff\U0001f000-\U0001faff"
_JOINED = "\u0600-\u08ff\u0900-\u0dff\u1800-\u18af\ufb50-\ufdcf"

# Beyond the basic plane all characters, since several ranges there make the search eight times slower.
_CANDIDATES = f"{_CONTROL}{_SURROGATE}{_BASIC_FORMAT}{_SELECTOR}{_JOINER}{_MARK}\U00010000-\U0010ffff"

CANDIDATE = re.compile(f"[{_CANDIDATES}]")
"""Matches each character that :data:`SPECIAL` can match, and few others: a fast search in ordinary text."""

SPECIAL = re.compile(
    rf"(?=[{_CANDIDATES}])(?:"  # one test for ordinary characters
    rf"(?P<control>[{_CONTROL}])"
    rf"|(?P<surrogate>[{_SURROGATE}])"
    rf"|(?P<tags>[{_TAG}]+)"
    rf"|(?P<format>[{_FORMAT}])"
    # One selector after anything visible is how emoji choose their presentation.
    rf"|(?P<selector>(?:^|(?<=[\s{_CONTROL}{_TAG}{_FORMAT}{_SELECTOR}{_JOINER}]))[{_SELECTOR}])"
    rf"|(?P<joiner>(?<![{_EMOJI}{_SELECTOR}{_JOINED}])[{_JOINER}]|[{_JOINER}](?![{_EMOJI}{_JOINED}]))"
    rf"|(?P<marks>(?<=[{_MARK}]{{{MAX_MARKS}}})[{_MARK}]+))"
)
"""Matches what is replaced; the group's name is its kind. Takes linear time."""

_ABBREVIATIONS = {
    "\u00ad": "SHY",
    "\u034f": "CGJ",
    "\u061c": "ALM",
    "\u200b": "ZWSP",
    "\u200c": "ZWNJ",
    "\u200d": "ZWJ",
    "\u200e": "LRM",
    "\u200f": "RLM",
    "\u2028": "LS",
    "\u2029": "PS",
    "\u202a": "LRE",
    "\u202b": "RLE",
    "\u202c": "PDF",
    "\u202d": "LRO",
    "\u202e": "RLO",
    "\u2060": "WJ",
    "\u2066": "LRI",
    "\u2067": "RLI",
    "\u2068": "FSI",
    "\u2069": "PDI",
    "\ufeff": "BOM",
}


def control_picture(character: str) -> str:
    """The visible symbol of a C0 control or DEL, such as ``␛``; empty for C1 controls, which have none."""
    code = ord(character)
    return chr(0x2400 + code) if code < 0x20 else "\u2421" if code == 0x7F else ""


def abbreviation(character: str) -> str:
    """The short name of an invisible character: ``RLO``, ``VS16``, ``U+009B``."""
    code = ord(character)
    if 0xFE00 <= code <= 0xFE0F:
        return f"VS{code - 0xFE00 + 1}"
    if 0xE0100 <= code <= 0xE01EF:
        return f"VS{code - 0xE0100 + 17}"
    return _ABBREVIATIONS.get(character) or f"U+{code:04X}"


def full_name(character: str) -> str:
    """The code point with its Unicode name: ``U+202E RIGHT-TO-LEFT OVERRIDE``."""
    code = ord(character)
    name = unicodedata.name(character, "") or ("CONTROL CHARACTER" if code < 0xA0 else "")
    return f"U+{code:04X} {name}".rstrip()


def tag_text(characters: str) -> str:
    """The ASCII text that tag characters encode."""
    return "".join(chr(ord(character) - 0xE0000) for character in characters)
