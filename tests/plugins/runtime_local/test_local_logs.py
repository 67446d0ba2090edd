"""The end of a log, as a client asks for it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_runtime_local.logs import BLOCK_BYTES, extent, tail


def naive(data: bytes, lines: int) -> bytes:
    if lines < 0:
        return data
    return b"".join(BytesIO(data).readlines()[-lines:]) if lines else b""


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("data", "lines", "expected"),
    [
        (b"", 10, b""),
        (b"", -1, b""),
        (b"\n", 10, b"\n"),
        (b"one", 1, b"one"),
        (b"one\n", 1, b"one\n"),
        (b"one\ntwo\n", 1, b"two\n"),
        (b"one\ntwo", 2, b"one\ntwo"),
        (b"one\ntwo\n", 2, b"one\ntwo\n"),
        (b"one\ntwo\n", 100, b"one\ntwo\n"),
        (b"one\n\n\n", 2, b"\n\n"),
        (b"one\n\n\n", 3, b"one\n\n\n"),
        (b"one\r\ntwo\r\n", 1, b"two\r\n"),
        (b"one\ntwo\n", -1, b"one\ntwo\n"),
        (b"one\ntwo\n", 0, b""),
        (b"\xff\xfe\n\x80\n", 1, b"\x80\n"),
        (b"a" * BLOCK_BYTES + b"\n" + b"b" * 3 * BLOCK_BYTES, 1, b"b" * 3 * BLOCK_BYTES),
        (b"x\n" * BLOCK_BYTES, -1, b"x\n" * BLOCK_BYTES),
    ],
)
async def test_the_last_lines(tmp_path: Path, data: bytes, lines: int, expected: bytes) -> None:
    log = tmp_path / "jobrun.log"
    log.write_bytes(data)
    blocks = [block async for block in tail(log, lines)]
    assert b"".join(blocks) == expected == naive(data, lines)
    assert all(0 < len(block) <= BLOCK_BYTES for block in blocks)


@given(
    st.lists(st.sampled_from([b"\n", b"a", b"bc", b"\r\n", b"\xff"]), max_size=60).map(b"".join),
    st.integers(-1, 12),
    st.integers(1, 9),
)
def test_any_log_any_block_size(data: bytes, lines: int, block_bytes: int) -> None:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        start, end = asyncio.run(extent(file.fileno(), lines, block_bytes))
    assert data[start:end] == naive(data, lines)


@pytest.mark.asyncio
async def test_what_is_no_log_is_empty(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    os.mkfifo(tmp_path / "pipe")
    for name in ("missing", "link", "pipe", "."):
        assert [block async for block in tail(tmp_path / name, -1)] == []


@pytest.mark.asyncio
async def test_a_log_that_is_truncated_meanwhile_ends(tmp_path: Path) -> None:
    log = tmp_path / "jobrun.log"
    log.write_bytes(b"x" * 3 * BLOCK_BYTES)
    blocks = tail(log, -1)
    await anext(blocks)
    os.truncate(log, 0)
    assert [block async for block in blocks] == []
