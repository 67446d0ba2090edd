"""Differences of two texts by words or characters, for panes side by side and for one text with insertions and deletions.

The work is bounded: long texts are cut, and passages that differ too much are compared by words, sentences or lines instead, or shown as
replaced. :attr:`TextDiff.notes` reports both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Literal, NamedTuple

from markupsafe import Markup

from evalhub_server.viewer import numbers
from evalhub_server.viewer.alignment import MAX_CELLS, Block, aligned, cells
from evalhub_server.viewer.text import DETAIL_CHARACTERS, MAX_CHIPS, invisible_badge, neutralised

Unit = Literal["words", "chars"]
Whitespace = Literal["show", "ignore"]
Side = Literal["before", "after", "both"]

MOST_NAMED_BYTES = 256 * 1024
"""Length of the HTML after which invisible characters are shown by their abbreviation alone."""

_LONGEST_CHARACTER = 16
"""Code points of a character that the estimate of the work allows for."""

_CJK = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_CHARACTER = r"(?:[\u0300-\u036f\u20d0-\u20ff\ufe00-\ufe0f]|\u200d[\s\S])*"
_WORD = rf"\d+(?:[.,]\d+)*|[{_CJK}]|[^\W{_CJK}]+|[^\w\s]"
_TOKENS = {
    "chars": rf"[\s\S]{_CHARACTER}",
    "words": rf"{_WORD}|\s",
    "sentences": r"[^\n.!?]*[\n.!?]+|[^\n.!?]+",
    "lines": r"[^\n]*\n|[^\n]+",
}
"""Patterns of tokens by level, compiled when they are first used. They are the whole text."""
_TOKENS_WITH_SPACE = {
    "chars": rf"\S{_CHARACTER}\s*",
    "words": rf"(?:{_WORD})\s*",
    "sentences": r"\S[^\n.!?]*[.!?]*\s*",
    "lines": r"\S[^\n]*\s*",
}
"""The same for texts without whitespace at their beginning, each with the whitespace after it."""
_LEVELS = ("chars", "words", "sentences", "lines")
"""From fine to coarse. A text that is too much work in one level is compared in the next, and its changes in the finer one."""


class Passage(NamedTuple):
    """A part of both texts. In equal ones the texts differ at most in whitespace that is ignored."""

    equal: bool
    before: str
    after: str


class TextDiff(NamedTuple):
    """The difference of two texts. ``notes``: sentences on what was not compared."""

    passages: tuple[Passage, ...]
    notes: tuple[str, ...] = ()

    @property
    def equal(self) -> bool:
        """Whether the compared parts are equal."""
        return all(passage.equal for passage in self.passages)


def text_diff(
    before: str,
    after: str,
    *,
    unit: Unit = "words",
    whitespace: Whitespace = "show",
    limit: int = DETAIL_CHARACTERS,
) -> TextDiff:
    """Compare two texts. ``limit``: maximum number of characters of each that are compared."""
    notes: list[str] = []
    for name, text in (("first", before), ("second", after)):
        if len(text) > limit:
            notes.append(
                f"Only the first {numbers.count(limit)} characters of the {name} text were compared."
            )
    before, after = before[:limit], after[:limit]
    comparison = _Comparison(before, after, ignore=whitespace == "ignore")
    blocks = _without_crumbs(comparison.blocks(unit), before, unit)
    if comparison.coarse:
        notes.append(
            "The texts differ too much to compare all of them in detail: some passages are shown as replaced."
        )
    passages = (
        Passage(
            block.equal,
            before[block.before_start : block.before_end],
            after[block.after_start : block.after_end],
        )
        for block in blocks
    )
    return TextDiff(tuple(passages), tuple(notes))


def diff_html(diff: TextDiff, side: Side = "both", *, answer: str = "") -> Markup:
    """The difference as HTML with ``<del>`` and ``<ins>``: both in one text, or the side that a pane shows.

    ``answer``: extracted answer to mark in the second text.
    """
    parts: list[str] = []
    length = invisible = position = 0
    marked = (
        answer_span("".join(passage.after for passage in diff.passages), answer) if side != "before" else None
    )
    for passage in diff.passages:
        end = position + len(passage.after)
        # Equal passages are those of the second text, which may have another whitespace.
        pieces = _pieces(passage, side, _within(marked, position, end))
        position = end
        for name, kind, text in pieces:
            chips = MAX_CHIPS if length < MOST_NAMED_BYTES else 0
            shown = neutralised(text, len(text), chips=chips)
            html = f'<mark class="answer">{shown.html}</mark>' if kind == "answer" else shown.html
            parts.append(f"<{name}>{html}</{name}>" if name else html)
            length += len(parts[-1])
            invisible += shown.invisible
    html = f'<bdi dir="auto">{"".join(parts)}</bdi>'
    if invisible:
        html += f" {invisible_badge(invisible)}"
    return Markup(html)  # noqa: S704 (neutralised parts)


def answer_html(text: str, answer: str, limit: int = DETAIL_CHARACTERS) -> Markup:
    """A text without a difference, in which the extracted answer is marked."""
    return diff_html(TextDiff((Passage(True, text[:limit], text[:limit]),)), "after", answer=answer)


def answer_span(text: str, answer: str) -> tuple[int, int] | None:
    """Where an extracted answer stands in a response: at its last occurrence, as a whole word if there is one."""
    answer = answer.strip()
    if not answer:
        return None
    end = len(text)
    while (start := text.rfind(answer, 0, end)) >= 0:
        if not (text[:start][-1:].isalnum() or text[start + len(answer) :][:1].isalnum()):
            return start, start + len(answer)
        end = start + len(answer) - 1
    start = text.rfind(answer)
    return (start, start + len(answer)) if start >= 0 else None


class _Comparison:
    """One comparison with a bound on its work. Blocks have positions of characters."""

    def __init__(self, before: str, after: str, *, ignore: bool) -> None:
        self._before = before
        self._after = after
        self._ignore = ignore
        self._cells = MAX_CELLS
        self.coarse = False

    def blocks(self, unit: Unit) -> list[Block]:
        whole = Block(False, 0, len(self._before), 0, len(self._after))
        levels = _LEVELS[_LEVELS.index(unit) :]
        for position, level in enumerate(levels):
            if (blocks := self._aligned(whole, level)) is not None:
                return [part for block in blocks for part in self._refined(block, levels[:position])]
        self.coarse = True
        return [whole]

    def _refined(self, block: Block, levels: Sequence[str]) -> list[Block]:
        """A changed block in the finest of some levels that is not too much work."""
        one_sided = block.before_start == block.before_end or block.after_start == block.after_end
        if block.equal or one_sided or not levels:
            return [block]
        for position, level in enumerate(levels):
            if (blocks := self._aligned(block, level)) is not None:
                self.coarse = self.coarse or position > 0
                return blocks
        self.coarse = True
        return [block]

    def _aligned(self, block: Block, level: str) -> list[Block] | None:
        """The blocks of a passage; None if that is more work than is left."""
        before = self._before[block.before_start : block.before_end]
        after = self._after[block.after_start : block.after_end]
        if level == "chars" and cells(before, after) > _LONGEST_CHARACTER * self._cells:
            return None
        first, second = self._tokens(before, level), self._tokens(after, level)
        keys, other_keys = self._keys(first), self._keys(second)
        work = cells(keys, other_keys)
        if work > self._cells:
            return None
        self._cells -= work
        before_at = self._positions(first, block.before_start, block.before_end)
        after_at = self._positions(second, block.after_start, block.after_end)
        return [
            Block(part.equal, before_at[part[1]], before_at[part[2]], after_at[part[3]], after_at[part[4]])
            for part in aligned(keys, other_keys)
        ]

    def _tokens(self, text: str, level: str) -> list[str]:
        """The tokens of a passage. Whitespace that is ignored belongs to the token before it."""
        if self._ignore:
            return re.findall(_TOKENS_WITH_SPACE[level], text.lstrip())
        return re.findall(_TOKENS[level], text)

    def _keys(self, tokens: list[str]) -> list[str]:
        """The tokens as they are compared."""
        return [" ".join(token.split()) for token in tokens] if self._ignore else tokens

    def _positions(self, tokens: Sequence[str], start: int, end: int) -> list[int]:
        """Where tokens begin, and the end. Whitespace before the first one belongs to it."""
        if not tokens:
            return [end]
        at = list(accumulate(map(len, tokens), initial=end - sum(map(len, tokens))))
        at[0] = start
        return at


def _without_crumbs(blocks: Sequence[Block], before: str, unit: Unit) -> list[Block]:
    """Blocks without equal ones that are too short to be read between two changes."""
    kept: list[Block] = []
    for block in blocks:
        kept.append(block)
        while len(kept) >= 3 and not kept[-1].equal and kept[-2].equal and _is_crumb(kept, before, unit):
            first, last = kept[-3], kept[-1]
            kept[-3:] = [Block(False, first.before_start, last.before_end, first.after_start, last.after_end)]
    return kept


def _is_crumb(kept: Sequence[Block], before: str, unit: Unit) -> bool:
    """Whether the last block but one is too short."""
    first, middle, last = kept[-3:]
    text = before[middle.before_start : middle.before_end]
    if unit == "words":
        return text.isspace() and "\n" not in text
    return all(
        len(text) <= max(change.before_end - change.before_start, change.after_end - change.after_start)
        for change in (first, last)
    )


def _within(span: tuple[int, int] | None, start: int, end: int) -> tuple[int, int]:
    """The part of a span between two positions, relative to the first; empty if it is outside."""
    if span is None:
        return 0, 0
    low, high = max(span[0], start), min(span[1], end)
    return (low - start, high - start) if low < high else (0, 0)


def _pieces(passage: Passage, side: Side, answer: tuple[int, int]) -> Iterator[tuple[str, str, str]]:
    """Element, kind and text of the parts of a passage that a side shows."""
    if passage.equal and side == "before":
        yield "", "", passage.before
        return
    if not passage.equal and side != "after" and passage.before:
        yield "del", "", _whitespace_symbols(passage.before)
    if side != "before":
        name = "" if passage.equal else "ins"
        low, high = answer
        parts = (("", passage.after[:low]), ("answer", passage.after[low:high]), ("", passage.after[high:]))
        for kind, text in parts:
            if text:
                yield name, kind, _whitespace_symbols(text) if name and not high else text


def _whitespace_symbols(text: str) -> str:
    """A change with its whitespace visible where there is nothing else."""
    return text.replace(" ", "·").replace("\t", "⇥\t").replace("\n", "⏎\n") if text.isspace() else text
