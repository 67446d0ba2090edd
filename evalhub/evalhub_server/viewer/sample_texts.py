"""The texts of a sample as its page shows them: expected and response with their difference, messages, and metadata."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Literal, cast

import msgspec
from markupsafe import Markup
from msgspec import Struct

from evalhub_server.viewer.text import DETAIL_CHARACTERS, detail, omitted_note
from evalhub_server.viewer.word_diff import TextDiff, Whitespace, answer_html, diff_html, text_diff

DIFF_BYTES = 4096
"""Texts up to this size are compared by default, if they are alike."""
ALIKE_SHARE = 0.25
"""Share of the longer text that two texts must have in common to be alike."""
FOLD_LINES = 40
FOLD_CHARACTERS = 8000
SHORT_CHARACTERS = 200
MAX_MESSAGES = 200
_JUDGE = re.compile(r"judge|grader|grading", re.IGNORECASE)

DiffChoice = Literal["", "words", "chars", "off"]


class Folded(Struct, kw_only=True, frozen=True):
    """A text of which the first lines are shown; ``rest`` has the others, empty if there are none."""

    start: str
    rest: str
    rest_lines: int


class MessageView(Struct, kw_only=True, frozen=True):
    """A message: what a role wrote, and its other members (tool calls) as JSON."""

    role: str
    text: Folded
    more: str


class Member(Struct, kw_only=True, frozen=True):
    """A member of the metadata. ``short``: one line."""

    name: str
    text: str
    short: bool


class SampleTexts(Struct, kw_only=True, frozen=True):
    """``diff`` is what the panes show: ``words``, ``chars`` or ``off``; ``notes`` are sentences on what was not compared.

    ``expected`` and ``response`` are None where the sample has none.
    """

    expected: Markup | None
    response: Markup | None
    answer: str | None
    diff: str
    notes: Sequence[str]
    equal: bool
    input: str | None
    explanation: str | None
    messages: Sequence[MessageView]
    more_messages: int
    judge: Sequence[Member]
    metadata: Sequence[Member]


def shown_text(value: object) -> str | None:
    """A text as it is, anything else as indented JSON; None if it is missing."""
    if value is None or isinstance(value, str):
        return value
    return msgspec.json.format(msgspec.json.encode(value)).decode()


def texts_of(sample: dict[str, Any], *, diff: DiffChoice, whitespace: Whitespace) -> SampleTexts:
    """The texts of a decoded sample. ``diff`` empty: see :data:`DIFF_BYTES`."""
    expected, response = shown_text(sample.get("target")), shown_text(sample.get("output"))
    answer = shown_text(sample.get("answer"))
    difference = None
    if expected is not None and response is not None and _compares(diff, expected, response):
        unit = "chars" if diff == "chars" else "words"
        difference = text_diff(expected, response, unit=unit, whitespace=whitespace)
        if not diff and not _alike(difference):
            difference = None
    if difference is None:
        left = None if expected is None else detail(expected)
        right = None if response is None else _response(response, answer or "")
    else:
        left = diff_html(difference, "before")
        right = diff_html(difference, "after", answer=answer or "")
    messages = _list(sample.get("messages"))
    members = _object(sample.get("metadata"))
    return SampleTexts(
        expected=left,
        response=right,
        answer=answer,
        diff="off" if difference is None else diff or "words",
        notes=difference.notes if difference else (),
        equal=difference.equal if difference else False,
        input=shown_text(sample.get("input")),
        explanation=shown_text(sample.get("explanation")),
        messages=[_message(each) for each in messages[:MAX_MESSAGES]],
        more_messages=max(len(messages) - MAX_MESSAGES, 0),
        judge=[_member(name, value) for name, value in members.items() if _JUDGE.search(name)],
        metadata=[_member(name, value) for name, value in members.items() if not _JUDGE.search(name)],
    )


def folded(text: str) -> Folded:
    """The first lines of a text, and the rest."""
    end = -1
    for _ in range(FOLD_LINES):
        end = text.find("\n", end + 1)
        if end < 0:
            break
    cut = min(len(text) if end < 0 else end, FOLD_CHARACTERS)
    start, rest = text[:cut], text[cut:]
    return Folded(start=start, rest=rest.removeprefix("\n"), rest_lines=rest.count("\n"))


def _response(text: str, answer: str) -> Markup:
    shown = answer_html(text, answer)
    omitted = len(text) - DETAIL_CHARACTERS
    return Markup("{} {}").format(shown, omitted_note(omitted)) if omitted > 0 else shown


def _compares(diff: DiffChoice, expected: str, response: str) -> bool:
    """Whether two texts are compared: by default, if both are short."""
    if diff:
        return diff != "off"
    return all(len(text) <= DIFF_BYTES and len(text.encode()) <= DIFF_BYTES for text in (expected, response))


def _alike(difference: TextDiff) -> bool:
    """Whether a difference says more than that one text replaces the other."""
    passages = difference.passages
    equal = sum(len(passage.after) for passage in passages if passage.equal)
    longer = max(
        sum(len(passage.before) for passage in passages), sum(len(passage.after) for passage in passages)
    )
    return equal >= ALIKE_SHARE * longer


def _message(value: object) -> MessageView:
    message = _object(value)
    if not message:
        return MessageView(role="", text=folded(shown_text(value) or ""), more="")
    content = message.get("content")
    more = {
        name: each for name, each in message.items() if name not in ("role", "content") and each is not None
    }
    return MessageView(
        role=str(message.get("role") or "without a role"),
        text=folded(_content(content)),
        more=shown_text(more) or "" if more else "",
    )


def _content(content: object) -> str:
    """The text of a message. Its parts may be texts; others are shown as JSON."""
    if not isinstance(content, list):
        return shown_text(content) or ""
    parts: list[str] = []
    for part in cast("list[object]", content):
        text = part if isinstance(part, str) else _object(part).get("text")
        parts.append(text if isinstance(text, str) else shown_text(part) or "")
    return "\n".join(parts)


def _member(name: str, value: object) -> Member:
    text = shown_text(value)
    shown = "null" if text is None else text
    return Member(name=name, text=shown, short=len(shown) <= SHORT_CHARACTERS and "\n" not in shown)


def _object(value: object) -> dict[str, Any]:
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _list(value: object) -> list[object]:
    return cast("list[object]", value) if isinstance(value, list) else [] if value is None else [value]
