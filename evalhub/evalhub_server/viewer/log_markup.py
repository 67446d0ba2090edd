"""Adapter output as HTML lines: colours of terminals as classes, progress bars in their last version, repeats counted."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime
from operator import itemgetter
from typing import Literal, NamedTuple

from markupsafe import Markup

from evalhub_server.domain.plain_text import ESCAPE_SEQUENCE
from evalhub_server.viewer.text import neutralised, omitted_note

LINE_CHARACTERS = 2_000
"""Maximum length of a line beside others."""
MAX_RUNS = 100
"""Changes of colour in a line that are shown."""
GAP_S = 10.0
"""Time between two lines from which it is worth a mark."""

Level = Literal["", "debug", "info", "warning", "error"]
LEVELS: tuple[Level, ...] = ("debug", "info", "warning", "error")
"""From the least to the most severe."""

_LEVEL_WORDS: dict[str, Level] = {
    "trace": "debug",
    "debug": "debug",
    "info": "info",
    "notice": "info",
    "warn": "warning",
    "warning": "warning",
    "error": "error",
    "err": "error",
    "critical": "error",
    "fatal": "error",
}
_LEVEL = re.compile(
    r"\b(TRACE|DEBUG|INFO|NOTICE|WARN|WARNING|ERROR|CRITICAL|FATAL)\b"
    r"|\[\s*(trace|debug|info|notice|warn|warning|error|err|critical|fatal)\s*\]"
    r"|\blevel\"?\s?[:=]\s?\"?(trace|debug|info|notice|warn|warning|error|critical|fatal)\b"
)
_EXCEPTION = re.compile(r"Traceback \(most recent call last\)|(?:\w+\.)*\w*(?:Error|Exception)(?::|$)")
_LEVEL_WITHIN = 200
"""A level stands near the beginning of a line; later the words are more likely text."""
_TIME = re.compile(r"\[?(\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,6})?)\d*\s?(Z|[+-]\d\d:?\d\d)?\]?\s*")
_SGR = re.compile(r"(?:\x1b\[|\x9b)([0-9;:]*)m")
_DIGITS = re.compile(r"[0-9]{1,3}")


class LogLine(NamedTuple):
    """A line, or several equal ones in a row, with their numbers ``first`` to ``last``."""

    first: int
    last: int
    html: Markup
    level: Level
    rewrites: int
    """Versions that the line replaced by carriage returns, as progress bars do."""
    hits: int
    """Occurrences of the text that is searched."""
    gap_s: float | None
    """Time since the line before, if it is at least :data:`GAP_S`."""

    @property
    def repeats(self) -> int:
        """Number of equal lines."""
        return self.last - self.first + 1


class _Run(NamedTuple):
    """Text with the classes of its colours."""

    classes: str
    text: str


def log_markup(
    lines: Iterable[str],
    *,
    first: int = 1,
    dedup: bool = True,
    query: str = "",
    limit: int = LINE_CHARACTERS,
    cut: Collection[int] = (),
) -> Iterator[LogLine]:
    """Lines as HTML, in order. The times at their beginnings do not count when lines are compared.

    ``first``: the number of the first line. ``dedup``: show equal lines in a row as one. ``query``: text to mark, in either case.
    ``limit``: characters of a line that are shown. ``cut``: numbers of lines that the page itself reports as cut.
    """
    held: LogLine | None = None
    held_key = ""
    level: Level = ""
    before: datetime | None = None
    for number, raw in enumerate(lines, first):
        text, rewrites = last_version(raw)
        at, key = _time_and_rest(text)
        if held is not None and dedup and key == held_key:
            held = held._replace(last=number, rewrites=held.rewrites + rewrites)
            before = at or before
            continue
        if held is not None:
            yield held
        level = line_level(text, before=level)
        gap_s = _gap_s(before, at)
        before = at or before
        html, hits = line_markup(text, query, limit, note=number not in cut)
        held, held_key = LogLine(number, number, html, level, rewrites, hits, gap_s), key
    if held is not None:
        yield held


def last_version(line: str) -> tuple[str, int]:
    """What a line shows after its last carriage return, and how often it was rewritten."""
    line = line.rstrip("\r\n")
    return line.rpartition("\r")[2], line.count("\r")


def line_level(line: str, *, before: Level = "") -> Level:
    """The level of a line; that of the line ``before`` for indented ones, such as those of tracebacks."""
    start = line[:_LEVEL_WITHIN]
    if not _is_plain(start):
        start = ESCAPE_SEQUENCE.sub("", start)
    if match := _LEVEL.search(start):
        return _LEVEL_WORDS[next(word for word in match.groups() if word).lower()]
    if _EXCEPTION.match(start):
        return "error"
    return before if start[:1].isspace() else ""


def line_markup(
    line: str, query: str = "", limit: int = LINE_CHARACTERS, *, note: bool = True
) -> tuple[Markup, int]:
    """One line as HTML with its colours, and the number of occurrences of ``query``, which are marked.

    Escape sequences other than colours and bold are left out; other control characters become visible.
    """
    runs = _runs(line[:limit])
    spans = _hits(runs, query)
    parts: list[str] = []
    position = 0
    for run in runs:
        for inside, text in _split(run.text, position, spans):
            html = neutralised(text, len(text)).html
            shown = f"<mark>{html}</mark>" if inside else html
            parts.append(f'<span class="{run.classes}">{shown}</span>' if run.classes else shown)
        position += len(run.text)
    if note and len(line) > limit:
        parts.append(f" {omitted_note(len(line) - limit)}")
    return Markup(f'<bdi dir="ltr">{"".join(parts)}</bdi>'), len(spans)  # noqa: S704 (neutralised parts)


def _is_plain(line: str) -> bool:
    """Whether a line certainly has no escape sequence."""
    return line.isascii() and "\x1b" not in line


def _runs(line: str) -> list[_Run]:
    if _is_plain(line):
        return [_Run("", line)] if line else []
    runs: list[_Run] = []
    classes = ""
    colour, bold = "", False
    end = 0
    for match in ESCAPE_SEQUENCE.finditer(line):
        if match.start() > end:
            runs.append(_Run(classes, line[end : match.start()]))
        end = match.end()
        if len(runs) == MAX_RUNS:
            return [*runs, _Run("", ESCAPE_SEQUENCE.sub("", line[end:]))]
        if sgr := _SGR.fullmatch(match[0]):
            colour, bold = _style(sgr[1], colour, bold=bold)
            classes = " ".join(each for each in (colour, "ansi-bold" if bold else "") if each)
    if end < len(line):
        runs.append(_Run(classes, line[end:]))
    return runs


def _style(parameters: str, colour: str, *, bold: bool) -> tuple[str, bool]:
    """Colour and weight after a sequence of Select Graphic Rendition (ECMA-48); backgrounds are ignored."""
    codes = [int(code) if _DIGITS.fullmatch(code) else 0 for code in re.split("[;:]", parameters)]
    while codes:
        code = codes.pop(0)
        if code in (38, 48):
            chosen = _extended(codes)
            colour = chosen if code == 38 and chosen else colour
        elif code == 0:
            colour, bold = "", False
        elif code in (1, 22):
            bold = code == 1
        elif code == 39:
            colour = ""
        elif 30 <= code <= 37 or 90 <= code <= 97:
            colour = f"ansi-{code - 30 if code < 90 else code - 82}"
    return colour, bold


def _extended(codes: list[int]) -> str:
    """The class of a colour of 256 or of 24 bits, whose parameters are taken from ``codes``."""
    kind = codes.pop(0) if codes else 0
    if kind == 5 and codes:
        index = codes.pop(0)
        if index < 16:
            return f"ansi-{index}"
        if index >= 232:
            return _nearest((index - 232) * 10 + 8, (index - 232) * 10 + 8, (index - 232) * 10 + 8)
        cube = index - 16
        return _nearest(*(level * 51 for level in (cube // 36, cube // 6 % 6, cube % 6)))
    if kind == 2 and len(codes) >= 3:
        red, green, blue = codes[:3]
        del codes[:3]
        return _nearest(red, green, blue)
    codes.clear()
    return ""


def _nearest(red: int, green: int, blue: int) -> str:
    """The class of the one of 16 colours that is near to a colour."""
    strongest = max(red, green, blue)
    if strongest - min(red, green, blue) < 32:
        return f"ansi-{0 if strongest < 64 else 8 if strongest < 128 else 7 if strongest < 208 else 15}"
    bits = sum(1 << place for place, level in enumerate((red, green, blue)) if level * 2 > strongest)
    return f"ansi-{bits + 8 if strongest > 208 else bits}"


def _hits(runs: Sequence[_Run], query: str) -> list[tuple[int, int]]:
    if not query:
        return []
    text = "".join(run.text for run in runs)
    return [match.span() for match in re.finditer(re.escape(query), text, re.IGNORECASE)]


def _split(text: str, start: int, spans: Sequence[tuple[int, int]]) -> Iterator[tuple[bool, str]]:
    """The parts of a text at a position, each inside or outside of the spans."""
    at = 0
    for low, high in spans[bisect_right(spans, start, key=itemgetter(1)) :]:
        if low >= start + len(text):
            break
        first, last = max(low - start, 0), min(high - start, len(text))
        if first > at:
            yield False, text[at:first]
        yield True, text[first:last]
        at = last
    if at < len(text):
        yield False, text[at:]


def _time_and_rest(line: str) -> tuple[datetime | None, str]:
    """The time at the beginning of a line and the rest; without a time, the line."""
    match = _TIME.match(line)
    if match is None:
        return None, line
    try:
        return datetime.fromisoformat(match[1] + (match[2] or "")), line[match.end() :]
    except ValueError:
        return None, line


def _gap_s(before: datetime | None, at: datetime | None) -> float | None:
    if before is None or at is None or (before.tzinfo is None) != (at.tzinfo is None):
        return None
    gap_s = (at - before).total_seconds()
    return gap_s if gap_s >= GAP_S else None
