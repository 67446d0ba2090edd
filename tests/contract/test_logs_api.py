"""Logs over HTTP: progress bars, limits, clients that disconnect."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psutil
import pytest

from harness import Config, RunningServer, wait_until
from harness.server import API

LIMIT_BYTES = 3000


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gate")


@pytest.fixture(scope="module")
def server(gate: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    service = {"max_log_response_bytes": LIMIT_BYTES}
    config = Config(tmp_path_factory.mktemp("logs") / "config", service=service, local={"max_parallel": 50})

    def awaiting(step: int) -> str:
        return f"while [ ! -e {gate}/{step} ]; do sleep 0.01; done"

    config.provider(
        f"printf 'start\\n 0%%\\r10%%'; {awaiting(1)}; printf '\\r50%%'; {awaiting(2)}; "
        f"printf '\\r100%%\\nnext 0%%\\r'; {awaiting(3)}; printf 'next 5%%\\r'; exit 1",
        provider_id="progress",
    )
    config.provider("seq 1 2000; exit 1", provider_id="counts")
    config.provider("head -c 20000 /dev/zero | tr '\\0' x; exit 1", provider_id="one_line")
    config.provider("yes 0123456789 | head -n 200000; printf end; exit 1", provider_id="long")
    with RunningServer(config.folder) as running:
        yield running


def test_a_progress_bar_is_shown_in_its_last_version_and_answers_only_grow(server: RunningServer, gate: Path):
    job_id = server.submit(provider="progress", benchmarks=[{"id": "b", "provider_id": "progress"}] * 3)
    path = f"{API}/jobs/{job_id}/benchmarks/2/logs"

    def raw(benchmark: int = 2) -> str:
        return server.get(f"{API}/jobs/{job_id}/benchmarks/{benchmark}/logs?tail_lines=-1")

    answers = list[tuple[str, str]]()

    def note() -> str:
        answers.append((server.logs(job_id), server.get(path)))
        return answers[-1][1]

    for index in range(3):
        wait_until(lambda index=index: raw(index) == "start\n 0%\r10%", "the first part")
    assert note() == "start"
    (gate / "1").touch()
    wait_until(lambda: raw().endswith("50%"), "the second part")
    assert note() == "start"
    (gate / "2").touch()
    wait_until(lambda: raw().endswith("next 0%\r"), "the third part")
    assert note() == "start\n100%"
    (gate / "3").touch()
    ended = server.finished(job_id)
    assert note() == "start\n100%\nnext 5%"
    for earlier, later in pairwise(answers):
        assert all(new.startswith(old) for old, new in zip(earlier, later, strict=True))
    assert raw() == "start\n 0%\r10%\r50%\r100%\nnext 0%\rnext 5%\r"
    assert answers[-1][0].count("=== pod=") == 3
    error = ended["status"]["benchmarks"][0]["error_message"]["message"]
    assert error.endswith("Last log lines:\nstart\n100%\nnext 5%")


def test_the_last_lines_above_the_limit_lose_their_beginning(server: RunningServer):
    job_id = server.submit(provider="counts")
    server.finished(job_id)
    for path in ("logs", "benchmarks/0/logs"):
        answer = server.call("GET", f"{API}/jobs/{job_id}/{path}")
        first, *lines = answer.body.split("\n")
        assert (
            first
            == f"=== log truncated to its last {LIMIT_BYTES} bytes; request fewer lines with tail_lines ==="
        )
        assert lines == [str(number) for number in range(int(lines[0]), 2001)]
        assert LIMIT_BYTES - 5 <= len("\n".join(lines)) <= LIMIT_BYTES
    assert b"X-Log-Truncated: true" in raw_answer(server, f"{API}/jobs/{job_id}/logs")
    assert b"X-Log-Truncated: true" not in raw_answer(server, f"{API}/jobs/{job_id}/logs?tail_lines=9")
    whole = server.logs(job_id, "?tail_lines=-1")
    assert whole.startswith("=== pod=")
    assert whole.endswith(
        f"=== log truncated after {LIMIT_BYTES} bytes; ask for fewer lines with tail_lines ===\n"
    )


def test_a_line_above_the_limit_loses_its_beginning(server: RunningServer):
    job_id = server.submit(provider="one_line")
    server.finished(job_id)
    first, line = server.logs(job_id).split("\n")
    assert first.startswith("=== log truncated to its last")
    assert line == "x" * LIMIT_BYTES


def test_a_log_that_is_too_long_for_the_memory_loses_its_beginning(server: RunningServer):
    # 10,000 lines of 11 bytes, twelve times, are more than the server holds.
    job_id = server.submit(benchmarks=[{"id": "b", "provider_id": "long"}] * 12)
    server.finished(job_id)
    first, *lines = server.logs(job_id, "?tail_lines=10000").split("\n")
    assert first.startswith("=== log truncated to its last")
    assert lines[-1] == "end"
    assert set(lines[:-1]) == {"0123456789"}
    assert len("\n".join(lines)) > LIMIT_BYTES - 11


def raw_answer(server: RunningServer, path: str) -> bytes:
    with socket.create_connection(("127.0.0.1", server.port)) as raw:
        raw.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return raw.makefile("rb").read()


def test_a_log_is_not_read_for_a_client_that_has_disconnected(tmp_path: Path):
    config = Config(tmp_path / "c", service={"max_log_response_bytes": -1})
    config.provider("echo here; exit 3")
    with RunningServer(config.folder) as server:
        job_id = server.submit()
        server.finished(job_id)
        log = next(config.jobs_dir.rglob("jobrun.log"))
        size = 1 << 30
        with log.open("r+b") as file:
            file.truncate(size)
        process = psutil.Process(server.pid)

        def reads_log() -> bool:
            return any(file.path == str(log) for file in process.open_files())

        before = process.io_counters().read_chars
        for query in ("tail_lines=-1", "tail_lines=10"):
            with socket.create_connection(("127.0.0.1", server.port)) as raw:
                request = f"GET {API}/jobs/{job_id}/logs?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n"
                raw.sendall(request.encode())
                wait_until(reads_log, "the log being read")
            wait_until(lambda: not reads_log(), "the log being closed")
        assert process.io_counters().read_chars - before < size
