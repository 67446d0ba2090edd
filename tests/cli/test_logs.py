"""Log lines: for people on a terminal, JSON elsewhere, with the same messages."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path

import pytest

from evalhub_server import __version__
from evalhub_server.console_log import LONGEST_VALUE, console_line
from harness import Config, RunningServer, free_port
from harness.server import job_request
from harness.terminal import run_in_terminal

LINE = re.compile(r"\d\d:\d\d:\d\d (DEBUG  |INFO   |WARNING|ERROR  ) ")
PROGRAM = [sys.executable, "-m", "evalhub_server", "--local"]
AT = datetime(2026, 11, 23, 2, 46, 33, tzinfo=UTC)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = Config(tmp_path / "c")
    config.scripted("completed")
    return config


def serve(
    config: Config, *arguments: str, path: str = "/api/v1/evaluations/jobs", raw: bool = False, **environ: str
) -> str:
    """Output of a server on a terminal that is interrupted after one GET of ``path``."""
    return _serve(config, *arguments, path=path, awaited="Request (successful|failed)", raw=raw, **environ)


def _serve(
    config: Config,
    *arguments: str,
    path: str,
    awaited: str,
    raw: bool = False,
    body: bytes | None = None,
    **environ: str,
) -> str:
    port = free_port()
    command = [*PROGRAM, "--configdir", str(config.folder), "--port", str(port), *arguments]
    sent: list[str] = []

    def act(shown: str, process: subprocess.Popen[bytes]) -> None:
        if not sent and "API Server starting" in shown:
            sent.append(path)
            with contextlib.suppress(urllib.error.HTTPError):
                urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", body).close()
        elif re.search(awaited, shown):
            process.send_signal(signal.SIGINT)

    env = {key: value for key, value in os.environ.items() if key not in ("PORT", "API_HOST", "LOG_FORMAT")}
    status, shown = run_in_terminal(command, {**env, **environ}, columns=200, until=act, raw=raw)
    assert status == 0, shown
    return shown


def test_on_a_terminal_url_version_data_directory_and_the_way_to_stop_are_shown(
    config: Config, tmp_path: Path
):
    shown = serve(config, "--data-dir", str(tmp_path / "data"))
    for text in (
        f"EvalHub Server {__version__}\n",
        "URL             http://localhost:",
        f"Data directory  {tmp_path / 'data'}\n",
        "Ctrl-C to stop\n",
    ):
        assert text in shown
    assert "{" not in shown
    assert "is lost at exit" in serve(config)


def test_a_request_is_one_line_on_a_terminal(config: Config):
    shown = serve(config, path="/api/v1/evaluations/jobs?limit=1")
    (line,) = (line for line in shown.splitlines() if "Request" in line)
    assert LINE.match(line)
    assert 'INFO    Request successful method=GET uri="/api/v1/evaluations/jobs?limit=1" code=200' in line


def test_the_messages_of_the_local_runtime_are_the_same_on_a_terminal(config: Config):
    body = json.dumps(job_request()).encode()
    path, awaited = "/api/v1/evaluations/jobs", "local runtime process started"
    shown = _serve(config, path=path, awaited=awaited, body=body)
    for message in (
        "API Server starting",
        "End reading configuration",
        "Provider loaded",
        "Runtime created",
        "local runtime job spec written",
        "local runtime log file created",
        "local runtime process started",
    ):
        assert re.search(f"(?m)^..:..:.. INFO    {message} ", shown), message
    assert re.search(r"local runtime process started .*pid=\d+ .*command=", shown)


def test_log_format_overrides_the_terminal(config: Config):
    lines = [
        json.loads(line)
        for line in serve(config, path="/x", LOG_FORMAT="JSON").splitlines()
        if line.startswith("{")
    ]
    assert lines[0].keys() >= {"level", "ts", "msg"}
    assert {"API Server starting", "Request failed"} <= {line["msg"] for line in lines}


@pytest.mark.parametrize("log_format", ["console", "text"])
def test_log_format_overrides_a_pipe(config: Config, log_format: str):
    environ = {**os.environ, "PORT": "0", "LOG_FORMAT": log_format}
    command = [*PROGRAM, "--configdir", str(config.folder)]
    with subprocess.Popen(command, env=environ, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        lines = iter(process.stderr)
        shown = "".join(iter(lambda: next(lines), "  Ctrl-C to stop\n"))
        process.terminate()
        assert process.wait(60) == 0
    assert "INFO    API Server starting url=" in shown
    assert "\x1b" not in shown


def test_control_characters_of_a_file_name_do_not_reach_the_terminal(config: Config):
    config.write("providers/\x1b[2J\x9b31m.yaml", {"id": "odd"})
    shown = serve(config, raw=True)
    assert "\x1b[2J" not in shown
    assert "\x9b" not in shown
    assert r"\x1b[2J\x9b31m.yaml" in shown


@pytest.mark.parametrize(
    "text", ["\x1b[2J", "\r", "\b", "\x7f", "\x9b31m", "\u202e", "\udcff", "a\nb", "\u2028"]
)
def test_control_characters_are_escaped_in_every_part_of_a_line(text: str):
    fields = {"value": text, text: 1, "list": [text], "map": {text: text}, "exception": text}
    line = console_line("error", text, fields, at_s=AT.timestamp())
    assert all(part.isprintable() for part in line.split("\n"))


def test_only_styles_are_sent_to_the_terminal_and_no_color_switches_them_off(config: Config):
    shown = serve(config, raw=True)
    assert set(re.findall(r"\x1b(.{3})", shown)) <= {"[0m", "[1m", "[2m", "[31", "[33"}
    assert "\x1b[0m" in shown
    assert "\x1b" not in serve(config, raw=True, NO_COLOR="1")


def test_a_line_shows_values_plainly_and_shortens_long_ones():
    fields = {"a": "x y", "b": None, "c": 1.5, "d": [1, "z"], "e": "", "f": 'say "hi"', "g": "y" * 1000}
    line = console_line("info", "message", fields, at_s=AT.timestamp())
    assert 'INFO    message a="x y" b=null c=1.5 d=[1,"z"] e="" f="say \\"hi\\"" g=yyy' in line
    assert line.endswith(f"{'y' * LONGEST_VALUE}…")


def test_an_exception_follows_its_line_indented():
    line = console_line(
        "error", "Request failed", {"exception": "Traceback:\n  x = 1\nValueError: no"}, at_s=AT.timestamp()
    )
    assert line.splitlines()[1:] == ["    Traceback:", "      x = 1", "    ValueError: no"]


@pytest.mark.parametrize(
    ("level", "lowest"),
    [
        ("debug", "debug"),
        ("DEBUG", "debug"),
        ("Info", "info"),
        ("warn", "warning"),
        ("WARNING", "warning"),
        ("error", "error"),
        ("CRITICAL", "critical"),
        ("fatal", "critical"),
        ("verbose", "info"),
        ("", "info"),
    ],
)
def test_level_names_of_the_standard_library_are_accepted_in_any_case(level: str, lowest: str):
    code = (
        "import structlog\nfrom evalhub_server.logs import configure_logs\n"
        f"configure_logs({level!r})\nlog = structlog.get_logger()\n"
        "for method in ('debug', 'info', 'warning', 'error', 'critical'): getattr(log, method)(method)"
    )
    done = subprocess.run([sys.executable, "-c", code], stderr=subprocess.PIPE, check=True, timeout=60)
    assert json.loads(done.stderr.splitlines()[0])["msg"] == lowest


@pytest.mark.parametrize(("variable", "value"), [("LOG_LEVEL", "trace"), ("LOG_FORMAT", "xml")])
def test_an_unknown_level_or_format_is_one_warning(config: Config, variable: str, value: str):
    with RunningServer(config.folder, env={variable: value}) as server:
        lines = server.log_lines()
    (warning,) = (line["msg"] for line in lines if line["level"] == "warning")
    assert warning.startswith(f"environment variable {variable}: '{value}' is not a log")
    assert "Runtime created" in {line["msg"] for line in lines}


def test_a_known_level_causes_no_warning(config: Config):
    with RunningServer(config.folder, env={"LOG_LEVEL": "DEBUG"}) as server:
        assert server.get("/api/v1/health")["status"] == "healthy"
        lines = server.log_lines()
    assert "warning" not in {line["level"] for line in lines}


def test_ordinary_lines_of_a_file_share_writes_and_a_warning_is_written_at_once(tmp_path: Path):
    file = tmp_path / "log"
    code = (
        "import io, sys, structlog\nfrom evalhub_server.logs import configure_logs\n"
        "class Counted(io.FileIO):\n"
        "    writes = 0\n"
        "    def write(self, data):\n"
        "        self.writes += 1\n"
        "        return super().write(data)\n"
        "file = Counted(sys.argv[1], 'w')\n"
        "configure_logs('info', io.TextIOWrapper(io.BufferedWriter(file), 'utf-8'))\nlog = structlog.get_logger()\n"
        "for number in range(1000): log.info('line', number=number)\n"
        "log.warning('at once')\n"
        "print(len(open(sys.argv[1]).readlines()), file.writes)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, file], stdout=subprocess.PIPE, check=True, timeout=60, text=True
    )
    lines, writes = map(int, done.stdout.split())
    assert lines == 1001
    assert writes <= 500  # one for every twentieth of a second; a slow machine needs several
    messages = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["number"] for line in messages[:-1]] == list(range(1000))
