"""A server under measurement, in a folder of its own and on a core of its own."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import psutil

API = "/api/v1/evaluations"
ROOT = Path(__file__).resolve().parents[1]
TERMINAL = {"completed", "failed", "cancelled", "partially_failed"}
CURL = (
    "d=${EVALHUB_JOB_SPEC_PATH%/*/*/*/*}; i=${d##*/}; d=${d%/*}; j=${d##*/}; exec curl -s -o /dev/null -X POST "
    '-d "{\\"benchmark_status_event\\":{\\"provider_id\\":\\"reports\\",\\"id\\":\\"b\\",\\"benchmark_index\\":$i,'
    '\\"status\\":\\"completed\\",\\"metrics\\":{\\"acc\\":0.5}}}" '
    "http://127.0.0.1:PORT/api/v1/evaluations/jobs/$j/events"
)
"""The adapter where there is no C compiler. Besides ``curl`` it uses the shell's own commands only."""


class Version(NamedTuple):
    """A server to measure: its name in tables, its command, and environment variables besides those of this process."""

    name: str
    command: Sequence[str]
    env: Mapping[str, str]

    @property
    def is_released(self) -> bool:
        return self.name == "released"


def source_tree(name: str, root: Path) -> Version:
    """The server of a source tree, run by the tree's own virtual environment if it has one."""
    paths = [root / "evalhub", *sorted(path for path in (root / "plugins").iterdir() if path.is_dir())]
    python = root / ".venv/bin/python"
    executable = str(python) if python.exists() else sys.executable
    env = {"PYTHONPATH": os.pathsep.join(map(str, paths))}
    return Version(name, [executable, "-m", "evalhub_server"], env)


def on_core(core: int | None) -> list[str]:
    """The prefix of a command that runs on one core. Without ``taskset`` or a second core there is none."""
    return ["taskset", "-c", str(core)] if core is not None else []


def cores() -> tuple[int | None, int | None]:
    """A core for servers and one for clients."""
    if shutil.which("taskset") is None:
        return None, None
    usable = sorted(os.sched_getaffinity(0))
    return (usable[0], usable[-1]) if len(usable) > 1 else (None, None)


def adapter_command(folder: Path) -> str:
    """The command of an adapter that reports success. ``PORT`` stands for the port of the server."""
    compiler = shutil.which("cc")
    if compiler is None:
        return CURL
    program = folder / "adapter"
    subprocess.run([compiler, "-O2", "-o", program, Path(__file__).with_name("adapter.c")], check=True)
    return f"exec {program} PORT"


class Subject:
    """A server; its folder has its configuration, database, files of jobs and log."""

    def __init__(
        self, version: Version, folder: Path, *, adapter: str = CURL, core: int | None = None
    ) -> None:
        self.version = version
        self.name = version.name
        self.folder = folder
        self.port = free_port()
        self._core = core
        self._helpers: list[psutil.Process] = []
        # Servers watch the folder of their configuration: a database in it would make them read all files again.
        self._config = folder / "config"
        shutil.copytree(ROOT / "config/providers", self._config / "providers")
        (self._config / "collections").mkdir()
        for provider, runtime in {
            "none": "local: null",
            "sleeps": "local: {command: 'exec sleep 600'}",
            "silent": "local: {command: 'true'}",
            "reports": "local:\n    command: |\n      " + adapter.replace("PORT", str(self.port)),
        }.items():
            (self._config / f"providers/{provider}.yaml").write_text(
                f"id: {provider}\nname: {provider}\nruntime:\n  {runtime}\n"
                "benchmarks:\n  - {id: b, name: b, category: x, metrics: [acc]}\n"
            )
        self.configure()

    def configure(self, database: str = "", max_parallel: int = 64) -> None:
        """Write ``config.yaml``; ``database`` is its section, by default a SQLite file."""
        database = database or f"{{driver: sqlite, url: 'file:{self.database}'}}"
        (self._config / "config.yaml").write_text(
            f"service: {{port: {self.port}, host: 127.0.0.1}}\n"
            f"database: {database}\n"
            f"local: {{max_parallel: {max_parallel}, jobs_dir: '{self.folder}/jobs'}}\n"
        )

    @property
    def database(self) -> Path:
        return self.folder / "db.sqlite"

    def start(self) -> float:
        """Start the server; returns the seconds to the first successful answer."""
        env = {name: value for name, value in os.environ.items() if name not in ("PORT", "API_HOST")}
        command = [*on_core(self._core), *self.version.command, "--local", "--configdir", str(self._config)]
        started = time.perf_counter()
        with (self.folder / "log").open("wb") as log:
            self.process = subprocess.Popen(
                command, env={**env, **self.version.env}, stdout=log, stderr=log, cwd=self.folder
            )
        while not self._answers():
            if self.process.poll() is not None:
                text = (self.folder / "log").read_text()
                raise SystemExit(f"{self.name} exited with {self.process.returncode}:\n{text[-2000:]}")
            time.sleep(0.001)
        return time.perf_counter() - started

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=10) as connection:
                connection.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
                return connection.recv(64).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def settle(self) -> None:
        """Wait until the server is idle, so that what it does after a start or a response is measured with it."""
        used, quiet = self.cpu_s(), 0
        until = time.monotonic() + 20
        while quiet < 3 and time.monotonic() < until:
            time.sleep(0.1)
            now = self.cpu_s()
            quiet = quiet + 1 if now - used < 0.002 else 0
            used = now

    def keep_helpers(self) -> None:
        """Count the processes that the server has now, besides its adapters to come, as parts of it."""
        self._helpers = psutil.Process(self.process.pid).children(recursive=True)

    def stop(self) -> None:
        """Stop the server, and kill its adapters. The released one is killed: it can hang on SIGTERM."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        if not self.version.is_released:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(30)
        self.process.kill()
        self.process.wait(30)
        for child in children:
            if child.is_running():
                child.kill()

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        url = f"http://127.0.0.1:{self.port}{path}"
        request = urllib.request.Request(url, data, dict(headers or {}), method=method)
        with urllib.request.urlopen(request, timeout=120) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def submit(
        self, provider: str, benchmarks: int = 1, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> str:
        body = {
            "name": "job",
            "model": {"url": "http://m.example/v1", "name": "m"},
            "benchmarks": [{"id": "b", "provider_id": provider}] * benchmarks,
            **fields,
        }
        return self.call("POST", f"{API}/jobs", body, headers)["resource"]["id"]

    def wait(self, job_id: str, interval_s: float = 0.002) -> None:
        """Wait until a job is terminal.

        Raises:
            SystemExit: it is not within ten minutes.
        """
        # One connection: a new one for each look would cost as much as the look.
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        until = time.monotonic() + 600
        while time.monotonic() < until:
            try:
                connection.request("GET", f"{API}/jobs/{job_id}")
                if json.load(connection.getresponse())["status"]["state"] in TERMINAL:
                    connection.close()
                    return
            except (OSError, http.client.HTTPException) as error:  # such as after the server's write timeout
                print(f"{self.name}: a request failed: {error}", file=sys.stderr)
                connection.close()
            time.sleep(interval_s)
        raise SystemExit(f"{self.name}: job {job_id} has not ended within ten minutes")

    def cpu_s(self) -> float:
        """User and system time of the server and its helpers, without adapters."""
        return sum(_cpu_s(pid) for pid in (self.process.pid, *(helper.pid for helper in self._helpers)))

    def rss_mib(self) -> float:
        processes = (psutil.Process(self.process.pid), *self._helpers)
        return sum(process.memory_info().rss for process in processes) / 2**20


def _cpu_s(pid: int) -> float:
    if sys.platform == "linux":
        # The CPU-time clock of another process (see clock_getcpuclockid(3)): nanoseconds, where /proc counts steps of 10 ms.
        return time.clock_gettime(~pid << 3 | 2)
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]
