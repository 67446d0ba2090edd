"""Many clients that follow one log, and one on a slow line: the server reads each file once and holds no backlog."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness import Config, RunningServer, wait_until
from harness.events import EventReader
from harness.server import API

pytestmark = pytest.mark.slow

FOLLOWERS = 500
LINE = "0123456789"
MANY_LINES = 4000
LONG_LOG_BYTES = 40_000_000


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def server(gate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("followers") / "config")
    wait = f"until [ -e {gate}/go ]; do sleep 0.05; done"
    config.provider(f"echo start; {wait}; yes {LINE} | head -n {MANY_LINES}; exit 1", provider_id="many")
    config.provider(f"yes {LINE} | head -c {LONG_LOG_BYTES}; exit 1", provider_id="long")
    with RunningServer(config.folder) as running:
        yield running


def followed(job_id: str) -> str:
    return f"{API}/jobs/{job_id}/benchmarks/0/logs?follow=true&tail_lines=-1"


def test_500_followers_of_one_log_cost_one_reader_of_its_file(server: RunningServer, gate: Path):
    job_id = server.submit("b", provider="many")
    wait_until(lambda: "start" in server.logs(job_id), "the adapter")
    process = psutil.Process(server.pid)
    before = process.num_fds()
    with contextlib.ExitStack() as stack:
        readers = [stack.enter_context(EventReader(server, followed(job_id))) for _ in range(FOLLOWERS)]
        texts = [reader.chunk() for reader in readers]
        assert set(texts) == {b"start\n"}
        # A connection each, and no file: that of the log is open while it is read.
        assert process.num_fds() <= before + FOLLOWERS + 2
        read_before = process.io_counters().read_chars
        (gate / "go").touch()
        text = f"{LINE}\n".encode() * MANY_LINES
        for reader in readers:
            assert b"".join(iter(reader.chunk, b"")) == text
        read = process.io_counters().read_chars - read_before
    assert read < 20 * len(text)
    wait_until(lambda: process.num_fds() <= before + 2, "the end of the connections")


def test_a_follower_on_a_slow_line_blocks_no_other_and_fills_no_memory(server: RunningServer):
    job_id = server.submit("b", provider="long")
    process = psutil.Process(server.pid)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 17)
        slow.settimeout(30)
        slow.connect(("127.0.0.1", server.port))
        slow.sendall(f"GET {followed(job_id)} HTTP/1.0\r\nHost: localhost\r\n\r\n".encode())
        received = slow.recv(1000)
        before = process.memory_info().rss
        with EventReader(server, followed(job_id)) as fast:
            size = sum(len(chunk) for chunk in iter(fast.chunk, b""))
        assert size == LONG_LOG_BYTES
        assert process.memory_info().rss - before < LONG_LOG_BYTES / 2
        while chunk := slow.recv(1 << 20):  # the whole log arrives, whenever it is read
            received += chunk
    assert len(received.partition(b"\r\n\r\n")[2]) == LONG_LOG_BYTES
