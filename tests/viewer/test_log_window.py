"""Windows of the lines of a log, whatever the chunks in which it is read."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.viewer import log_window
from evalhub_server.viewer.log_window import LogFilter, LogWindow

LOG = b"".join(b"line %d\n" % number for number in range(1, 11))
FILTERS: list[dict[str, Any]] = [{}, {"text": "b"}, {"level": "info"}]
LEVELS = b"INFO one\nERROR two\n  detail\nDEBUG three\nWARN four\nplain"


def window(start: int, size: int = 3, data: bytes = LOG, chunk: int = 7, **wanted: Any) -> LogWindow:
    found = LogWindow(start, size, LogFilter(**wanted))
    for at in range(0, len(data), chunk):
        found.feed(data[at : at + chunk])
    return found


def numbers(found: LogWindow) -> list[int]:
    return [number for number, _ in found.lines]


@pytest.mark.parametrize(
    ("start", "shown", "earlier", "later"),
    [
        (-3, [8, 9, 10], 5, None),
        (-2, [9, 10], 7, None),
        (1, [1, 2, 3], None, 4),
        (2, [2, 3, 4], 1, 5),
        (7, [7, 8, 9], 4, 10),
        (9, [9, 10], 6, None),
        (11, [], None, None),
    ],
)
@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_lines_have_their_numbers(
    start: int, shown: list[int], earlier: int | None, later: int | None, chunk: int
) -> None:
    found = window(start, chunk=chunk)
    assert list(found.lines) == [(number, f"line {number}") for number in shown]
    assert (found.earlier, found.later, found.total) == (earlier, later, 10)
    assert (found.size_bytes, found.complete_bytes, found.finished_lines) == (len(LOG), len(LOG), 10)


def test_an_unfinished_line_counts() -> None:
    found = window(-2, data=LOG + b"half")
    assert list(found.lines) == [(10, "line 10"), (11, "half")]
    assert (found.total, found.finished_lines, found.complete_bytes) == (11, 10, len(LOG))


def test_an_empty_log_has_no_lines() -> None:
    for text in ("", "x"):
        found = window(-3, data=b"", text=text)
        assert (list(found.lines), found.total, found.earlier, found.later) == ([], 0, None, None)


@pytest.mark.parametrize("chunk", [1, 5, 1000])
@pytest.mark.parametrize(
    ("wanted", "shown"),
    [
        ({"text": "T"}, [2, 3, 4]),
        ({"level": "error"}, [2, 3]),
        ({"level": "warning"}, [2, 3, 5]),
        ({"level": "debug"}, [1, 2, 3, 4, 5]),
        ({"level": "error", "text": "DET"}, [3]),
        ({"text": "plain"}, [6]),
        ({"text": "nothing"}, []),
    ],
)
def test_filters_select_lines(chunk: int, wanted: dict[str, Any], shown: list[int]) -> None:
    found = window(-10, 10, data=LEVELS, chunk=chunk, **wanted)
    assert numbers(found) == shown
    assert (found.matches, found.total) == (len(shown), 6)


def test_windows_of_filtered_lines_are_linked() -> None:
    data = b"".join(b"x\ny\n" for _ in range(10))
    last = window(-3, data=data, text="x")
    assert (numbers(last), last.earlier, last.later) == ([15, 17, 19], 9, None)
    middle = window(9, data=data, text="x")
    assert (numbers(middle), middle.earlier, middle.later) == ([9, 11, 13], 3, 14)
    first = window(1, data=data, text="x")
    assert (numbers(first), first.earlier, first.later) == ([1, 3, 5], None, 6)


def test_long_lines_lose_their_end_and_long_windows_their_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_window, "MAX_LINE_BYTES", 20)
    monkeypatch.setattr(log_window, "MAX_HELD_BYTES", 100)
    data = b"y" * 50 + b"\n" + b"1 %\r" * 30 + b"100 %\nend\n"
    for text in ("", "e"):
        assert window(-3, data=data, chunk=1000, text=text).lines[-1] == (3, "end")
    assert list(window(-3, data=data, chunk=1000).lines) == [(1, "y" * 20), (2, "100 %"), (3, "end")]
    small = window(-3, data=data, chunk=10)
    assert small.cut
    assert small.lines[-1] == (3, "end")
    endless = window(-3, data=b"z" * 300, chunk=10, text="z")
    assert endless.cut
    assert endless.lines == [(1, "z" * 20)]


@given(st.lists(st.sampled_from([b"a", b"b\n", b"\n", b"INFO x\n", b"c\r"]), max_size=40), st.integers(1, 9))
def test_chunks_do_not_matter(parts: list[bytes], chunk: int) -> None:
    data = b"".join(parts)
    for start in (-4, 1, 3):
        for wanted in FILTERS:
            one = window(start, 4, data, len(data) + 1, **wanted)
            other = window(start, 4, data, chunk, **wanted)
            assert one.lines == other.lines
            assert (one.total, one.matches) == (other.total, other.matches)
            assert (one.earlier, one.later) == (other.earlier, other.later)


@pytest.mark.parametrize("wanted", FILTERS)
@pytest.mark.parametrize("chunk", [1, 1000, 10_000])
def test_long_lines_have_their_positions(chunk: int, wanted: dict[str, Any]) -> None:
    long = b"INFO b" + b"x" * 3000
    bar = b"\r".join([b"INFO b %d" % number for number in range(1000)])
    data = b"\n".join([b"INFO b", long, bar, b"INFO b", long])
    positions = {2: (7, len(long)), 5: (data.rfind(b"\n") + 1, len(long))}
    for start in (-5, 1):
        found = window(start, size=5, data=data, chunk=chunk, **wanted)
        assert (numbers(found), found.long_lines) == ([1, 2, 3, 4, 5], positions)
    found = window(-1, data=data, chunk=chunk, **wanted)
    assert (numbers(found), found.long_lines) == ([5], {5: positions[5]})
