"""Lines of adapter output with carriage returns."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.domain import log_lines
from evalhub_server.domain.log_lines import LogLines

OUTPUT = st.lists(st.sampled_from([b"\r", b"\n", b"a", b"bc", b"\xff", b"\r\n"]), max_size=40).map(b"".join)


def naive(output: bytes) -> bytes:
    return b"\n".join(line.rstrip(b"\r").rpartition(b"\r")[2] for line in output.split(b"\n"))


def shown(output: bytes) -> bytes:
    """The lines of output that has ended."""
    lines = LogLines()
    return lines.feed(output) + lines.close(ended=True)


@pytest.mark.parametrize(
    ("output", "running", "ended"),
    [
        (b"", b"", b""),
        (b"one\ntwo\n", b"one\ntwo\n", b"one\ntwo\n"),
        (b"one\ntwo", b"one\ntwo", b"one\ntwo"),
        (b"one\r\ntwo\r\n", b"one\ntwo\n", b"one\ntwo\n"),
        (b"0%\r50%\r100%\ndone\n", b"100%\ndone\n", b"100%\ndone\n"),
        (b"one\n0%\r50%", b"one\n", b"one\n50%"),
        (b"one\n\r0%\r50%\r", b"one\n", b"one\n50%"),
        (b"0%\r100%\r\r\nnext", b"100%\nnext", b"100%\nnext"),
        (b"0%\r\n", b"0%\n", b"0%\n"),
        (b"\r", b"", b""),
        (b"\r\n", b"\n", b"\n"),
        (b"\n\n", b"\n\n", b"\n\n"),
    ],
)
def test_a_line_is_what_follows_its_last_carriage_return(output: bytes, running: bytes, ended: bytes) -> None:
    lines = LogLines()
    assert lines.feed(output) + lines.close(ended=False) == running
    assert shown(output) == ended


@given(OUTPUT, st.data())
def test_chunks_of_any_size_give_the_same_lines(output: bytes, data: st.DataObject) -> None:
    lines, parts, rest = LogLines(), list[bytes](), output
    while rest:
        size = data.draw(st.integers(1, 5))
        parts.append(lines.feed(rest[:size]))
        rest = rest[size:]
    assert b"".join(parts) + lines.close(ended=True) == shown(output) == naive(output)


@given(OUTPUT, OUTPUT)
def test_more_output_only_appends_lines(output: bytes, more: bytes) -> None:
    first, second = LogLines(), LogLines()
    assert second.feed(output + more).startswith(first.feed(output))


@given(OUTPUT, st.integers(1, 5))
def test_a_very_long_version_is_passed_on_whatever_the_chunks(output: bytes, size: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(log_lines, "MAX_VERSION_BYTES", 3)
        whole, pieces = LogLines(), LogLines()
        expected = whole.feed(output) + whole.close(ended=True)
        parts = [pieces.feed(output[start : start + size]) for start in range(0, len(output), size)]
        assert b"".join(parts) + pieces.close(ended=True) == expected


def test_the_memory_for_a_line_without_an_end_is_limited() -> None:
    lines = LogLines()
    block = b"x" * 65536
    passed_on = sum(len(lines.feed(block)) for _ in range(100))
    assert 100 * len(block) - passed_on <= log_lines.MAX_VERSION_BYTES


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (b"2026-01-02T03:04:05.678901234Z 0%\r100%\n", b"2026-01-02T03:04:05.678901234Z 100%\n"),
        (b"2026-01-02T03:04:05+01:00 0%\r50%\r100%\n", b"2026-01-02T03:04:05+01:00 100%\n"),
        (b"2026-01-02T03:04:05Z text\r\n", b"2026-01-02T03:04:05Z text\n"),
        (b"2026-01-02T03:04:05Z \r0%\r1%\nx\n", b"2026-01-02T03:04:05Z 1%\nx\n"),
        (b"no time 0%\r1%\n", b"1%\n"),
    ],
)
def test_the_time_of_a_line_is_kept(output: bytes, expected: bytes) -> None:
    for size in (1, 7, 100):
        lines = LogLines(timestamps=True)
        parts = [lines.feed(output[start : start + size]) for start in range(0, len(output), size)]
        assert b"".join(parts) + lines.close(ended=True) == expected
    assert LogLines().feed(output) == naive(output)
