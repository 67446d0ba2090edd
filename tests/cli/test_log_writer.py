"""The log of a process whose standard error is not read, or is no longer writable."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from evalhub_common.log_writer import MAX_LINES, LogWriter
from harness import Config, RunningServer, free_port, wait_until
from harness.server import API

LONG = "x" * 900
PIPE_BYTES = 65_536
REQUESTS = 2 * PIPE_BYTES // len(LONG)


class CountedFile(io.FileIO):
    """A file that counts its writes."""

    writes = 0

    def write(self, data: Any) -> int:
        self.writes += 1
        return super().write(data)


def read_lines(descriptor: int) -> list[str]:
    with os.fdopen(descriptor, "rb") as pipe:
        return pipe.read().decode().splitlines()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_log_that_is_not_read_delays_no_request_and_no_stop(tmp_path: Path, log_format: str):
    config = Config(tmp_path / "c")
    config.scripted("completed")
    reader, writer = os.pipe()
    server = RunningServer(config.folder, stderr=writer, port=free_port(), env={"LOG_FORMAT": log_format})
    with server:
        os.close(writer)
        for number in range(REQUESTS):
            assert server.call("GET", f"{API}/jobs?name={number}-{LONG}").status == 200
        assert server.call("GET", "/api/v1/health").status == 200
        assert server.terminate() == 0
    os.close(reader)


def test_an_ordinary_end_writes_every_line_in_order(tmp_path: Path):
    config = Config(tmp_path / "c")
    with RunningServer(config.folder) as server:
        for number in range(100):
            server.call("GET", f"{API}/jobs?offset={number}")
        assert server.terminate() == 0
        uris = [line["uri"] for line in server.log_lines() if line["msg"].startswith("Request")]
    assert uris == [f"{API}/jobs?offset={number}" for number in range(100)]


def test_dropped_lines_are_counted_where_they_are_missing():
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        log = LogWriter(stream, lambda number: f"dropped {number}")
        total = 0
        while (
            not log._dropped
        ):  # how many lines the thread holds beside those in the queue is a matter of time
            log.write(f"{total} {LONG}")
            total += 1
        assert total > MAX_LINES
        assert not log.drain(0)
        with os.fdopen(os.dup(reader), "rb") as pipe:
            text = b""
            while b"dropped" not in text[-40:]:
                text += os.read(pipe.fileno(), PIPE_BYTES)
        log.write("after")
        assert log.drain(60)
    lines = text.decode().splitlines() + read_lines(reader)
    *kept, note, after = lines
    numbers = [int(line.split()[0]) for line in kept]
    assert numbers == list(range(len(kept)))
    assert (note, after) == (f"dropped {total - len(kept)}", "after")
    assert len(kept) < total


def test_lines_that_a_full_disk_refused_are_counted(tmp_path: Path):
    file = tmp_path / "log"
    with open("/dev/full", "w", encoding="utf-8") as stream, file.open("w") as freed:  # noqa: PTH123  a device
        log = LogWriter(stream, lambda number: f"dropped {number}")
        log.write("a")
        log.write("b")
        assert log.drain(60)
        os.dup2(freed.fileno(), stream.fileno())
        log.write("c")
        log.write("d")
        assert log.drain(60)
    assert file.read_text() == "dropped 2\nc\nd\n"


def test_a_pipe_that_another_process_has_made_non_blocking_loses_nothing():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        log = LogWriter(stream, str)
        total = 3 * PIPE_BYTES // len(LONG)
        for number in range(total):
            log.write(f"{number} {LONG}")
        assert not log.drain(0)
        text = b""
        while text.count(b"\n") < total:
            text += os.read(reader, PIPE_BYTES)
    os.close(reader)
    assert [int(line.split()[0]) for line in text.splitlines()] == list(range(total))


def test_the_reason_of_a_failed_start_follows_the_log(tmp_path: Path):
    config = Config(tmp_path / "c")
    with RunningServer(config.folder) as running:
        command = [sys.executable, "-m", "evalhub_server", "--local", "--configdir", str(config.folder)]
        done = subprocess.run(
            [*command, "--port", str(running.port)],
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
            text=True,
        )
    *lines, reason = done.stderr.splitlines()
    assert done.returncode == 1
    assert reason.startswith("eval-hub-server: ")
    assert "End reading configuration" in [json.loads(line)["msg"] for line in lines]


@pytest.mark.parametrize("level", ["info", "error"])
def test_the_log_of_a_sidecar_that_is_not_read_delays_nothing(level: str):
    code = (
        "import sys\nfrom evalhub_sidecar import logs\nlogs.configure_logs('info')\n"
        f"for _ in range({REQUESTS}): logs.{level}('message', text='{LONG}')\n"
        "print('logged', flush=True)\n"
    )
    reader, writer = os.pipe()
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=writer) as process:
        os.close(writer)
        assert process.stdout is not None
        assert process.stdout.readline() == b"logged\n"
        lines = [json.loads(line) for line in read_lines(reader)]
    assert len(lines) == REQUESTS


def test_a_regular_file_has_each_line_at_once(tmp_path: Path):
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        log = LogWriter(stream, lambda number: f"dropped {number}")
        log.write("text")
        log.write(lambda: "formatted")
        assert (tmp_path / "log").read_text() == "text\nformatted\n"


def test_lines_of_a_file_that_may_wait_share_a_write_and_keep_their_order(tmp_path: Path):
    file = CountedFile(tmp_path / "log", "w")
    with io.TextIOWrapper(io.BufferedWriter(file), "utf-8") as stream:
        log = LogWriter(stream, lambda number: f"dropped {number}")
        for number in range(1000):
            log.write_later(str(number))
        log.write("at once")
        expected = [*map(str, range(1000)), "at once"]
        assert (tmp_path / "log").read_text().splitlines() == expected
        assert file.writes <= 100  # one for every twentieth of a second; a slow machine needs several
        log.write_later("last")
        assert log.drain()
        assert (tmp_path / "log").read_text().splitlines() == [*expected, "last"]


def test_no_line_of_a_file_is_dropped(tmp_path: Path):
    numbers = [*map(str, range(3 * MAX_LINES))]
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        log = LogWriter(stream, lambda number: f"dropped {number}")
        for number in numbers:
            log.write_later(number)
        assert log.drain()
        assert (tmp_path / "log").read_text().splitlines() == numbers


def test_a_line_of_a_file_that_may_wait_needs_no_other_line(tmp_path: Path):
    with (tmp_path / "log").open("w", encoding="utf-8") as stream:
        log = LogWriter(stream, lambda number: f"dropped {number}")
        log.write_later("text")
        wait_until(lambda: (tmp_path / "log").read_text() == "text\n", "the line")
