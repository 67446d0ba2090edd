"""The limit on the size of logs: the middle of a log is removed while its adapter writes."""

from __future__ import annotations

import http.client
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_runtime_local import log_limit
from evalhub_runtime_local.log_limit import ALIGNMENT_BYTES, CUT, MIN_BYTES, shorten
from evalhub_runtime_local.logs import BLOCK_BYTES, find_gap, read_from, start_of_tail, tail
from harness import Config, RunningServer, wait_until
from harness.server import API

REMOVED = re.compile(
    r"^--- (\d+) bytes of the log were removed here \(retention.log_max_bytes\) ---$", re.MULTILINE
)
LIMIT = 2 * MIN_BYTES


def log_of(config: Config) -> Path:
    (found,) = config.jobs_dir.rglob("jobrun.log")
    return found


def allocated(path: Path) -> int:
    return path.stat().st_blocks * 512


def limited(folder: Path, command: str) -> Config:
    config = Config(folder, retention={"log_max_bytes": LIMIT})
    config.provider(command)
    return config


@pytest.mark.slow
def test_an_adapter_that_writes_without_end_does_not_fill_the_disk(tmp_path: Path) -> None:
    config = limited(tmp_path / "config", "echo the first line; exec yes")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        job_id = server.submit()
        wait_until(lambda: any(config.jobs_dir.rglob("jobrun.log")), "the log")
        log = log_of(config)
        wait_until(lambda: log.stat().st_size > 50 * LIMIT, "a long log")
        following = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        following.request("GET", f"{API}/jobs/{job_id}/logs?follow=true&tail_lines=-1")
        stream = following.getresponse()
        followed = b""
        while b"were removed here" not in followed:
            # What there is: a reader that is overtaken gets one short line at a time.
            part = stream.read1(BLOCK_BYTES)
            assert part, followed[-200:]
            followed += part
        following.close()
        assert followed.count(b"the first line\n") == 1
        assert server.call("DELETE", f"{API}/jobs/{job_id}").status == 204
        assert allocated(log) <= LIMIT
        assert log.stat().st_size > 50 * LIMIT
        whole = server.logs(job_id, "?tail_lines=-1")
        assert "the first line\n" in whole
        assert len(whole) < 2 * LIMIT
        (removed,) = REMOVED.findall(whole)
        assert int(removed) > 40 * LIMIT
        assert set(REMOVED.sub("", whole).split("the first line\n")[1].split()) == {"y"}
        assert server.logs(job_id, "?tail_lines=3").count("y") == 3
        server.kill()
        server.start()
        assert server.logs(job_id, "?tail_lines=-1") == whole


@pytest.mark.slow
def test_a_restarted_server_limits_the_log_of_an_adapter_that_went_on(tmp_path: Path) -> None:
    config = limited(tmp_path / "config", f"yes | head -c {20 * LIMIT}; exec sleep 1000")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        job_id = server.submit()
        wait_until(lambda: any(config.jobs_dir.rglob("jobrun.log")), "the log")
        log = log_of(config)
        wait_until(lambda: log.stat().st_size > 0, "the adapter's first output")
        server.kill()
        wait_until(lambda: log.stat().st_size == 20 * LIMIT, "the whole log")
        server.start()
        wait_until(lambda: allocated(log) <= LIMIT, "the limit")
        assert server.call("DELETE", f"{API}/jobs/{job_id}?hard_delete=true").status == 204


def test_the_failure_of_a_benchmark_quotes_the_end_of_a_shortened_log(tmp_path: Path) -> None:
    config = limited(
        tmp_path / "config", f"yes | head -c {20 * LIMIT}; echo; echo the disk is on fire; exit 3"
    )
    with RunningServer(config.folder) as server:
        job = server.finished(server.submit())
        assert job["status"]["state"] == "failed"
        assert "the disk is on fire" in server.logs(job["resource"]["id"], "?tail_lines=2")
        wait_until(lambda: allocated(log_of(config)) <= LIMIT, "the limit")


def numbered(path: Path, size: int) -> bytes:
    lines = b"".join(b"line %d\n" % number for number in range(size // 8))
    path.write_bytes(lines)
    return lines


async def read(log: Path, lines: int) -> bytes:
    return b"".join([block async for block in tail(log, lines)])


@pytest.mark.asyncio
async def test_the_parts_of_a_shortened_log_consist_of_whole_lines(tmp_path: Path) -> None:
    log = tmp_path / "log"
    content = numbered(log, 4 * MIN_BYTES)
    fd = os.open(log, os.O_RDWR)
    shorten(fd, len(content), MIN_BYTES)
    gap = find_gap(fd)
    os.close(fd)
    assert gap is not None
    assert allocated(log) <= MIN_BYTES
    expected = content[: gap.start] + gap.line + content[gap.end :]
    assert gap.start >= MIN_BYTES // 4 - ALIGNMENT_BYTES
    assert gap.start == 0 or content[gap.start - 1 : gap.start] == b"\n"
    assert content[gap.end - 1 : gap.end] == b"\n"
    assert await read(log, -1) == expected
    tail_lines = content[gap.end :].count(b"\n")
    for lines in (1, tail_lines, tail_lines + 1, tail_lines + 2, tail_lines + 5000):
        assert await read(log, lines) == b"".join(expected.splitlines(keepends=True)[-lines:])
    assert await start_of_tail(log, tail_lines) == gap.end
    offset, parts = 0, list[bytes]()
    while (part := read_from(log, offset, BLOCK_BYTES)).data:
        parts.append(part.data)
        offset = part.end
    assert b"".join(parts) == expected
    assert offset == len(content)


def test_without_holes_the_rest_of_the_log_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", "another")
    log_limit._punch.cache_clear()  # pyright: ignore[reportPrivateUsage]
    log = tmp_path / "log"
    content = numbered(log, 4 * MIN_BYTES)
    fd = os.open(log, os.O_RDWR)
    shorten(fd, len(content), MIN_BYTES)
    os.close(fd)
    log_limit._punch.cache_clear()  # pyright: ignore[reportPrivateUsage]
    assert log.read_bytes() == content[: MIN_BYTES // 4] + CUT


def test_a_log_that_cannot_be_shortened_is_an_error(tmp_path: Path) -> None:
    closed = os.open(tmp_path, os.O_RDONLY)  # a directory: fallocate fails
    try:
        with pytest.raises(OSError, match=r"file descriptor|directory"):
            shorten(closed, 4 * MIN_BYTES, MIN_BYTES)
    finally:
        os.close(closed)


@given(size=st.integers(0, 6 * MIN_BYTES), limit=st.integers(MIN_BYTES, 3 * MIN_BYTES))
def test_a_shortened_file_is_below_its_limit(tmp_path_factory: Any, size: int, limit: int) -> None:
    log = tmp_path_factory.getbasetemp() / "any-size"
    log.write_bytes(b"x" * size)
    fd = os.open(log, os.O_RDWR)
    shorten(fd, size, limit)
    os.close(fd)
    assert log.stat().st_size == size
    if size > limit:
        assert allocated(log) <= limit
