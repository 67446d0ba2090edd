"""A real server process for tests, its configuration, and the adapter that its jobs run by default."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import msgspec
import psutil
import yaml

from evalhub_server.client import Client, ClientError, Job
from evalhub_server.client.resources import is_terminal
from evalhub_server.testing.processes import kill, processes_of

T = TypeVar("T")

PAUSE_S = 0.05
NOT_INHERITED = (
    "API_HOST",
    "DB_",
    "EVALHUB_",
    "EVAL_HUB_",
    "LOG_",
    "METRICS_",
    "MLFLOW_",
    "OCI_",
    "OTEL_",
    "PORT",
    "TLS_",
)
"""How variables begin that configure a server: those of the user must not change one under test."""


class TinyAdapter(NamedTuple):
    """The command of an adapter for tests, whose behaviour is in the parameters of its job (:meth:`ServerProcess.submit`).

    Use ``command`` where a runtime takes a list, ``shell_command`` where it takes the text of a shell command.
    """

    command: tuple[str, ...] = (sys.executable, "-P", str(Path(__file__).with_name("tiny_adapter.py")))

    @property
    def shell_command(self) -> str:
        return shlex.join(self.command)


class ServerConfig:
    """The configuration directory of a :class:`ServerProcess`, written when the server starts; change it before that."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Written below it: ``config.yaml`` and ``providers/``. Other files may be added, such as ``collections/mine.yaml``."""
        self.sections: dict[str, Any] = {}
        """The content of ``config.yaml``."""
        self.environment: dict[str, str] = {}
        """Additional variables of the server's environment, which adapters inherit."""
        self.providers: dict[str, dict[str, Any]] = {}
        """The content of provider files, by id."""

    def add_provider(
        self, provider_id: str, runtime: Mapping[str, Any], benchmarks: Sequence[str] = ("tiny",)
    ) -> None:
        """Add a provider, or replace the one with this id. ``runtime`` has the entry of each runtime that can run its benchmarks."""
        self.providers[provider_id] = {
            "id": provider_id,
            "name": provider_id,
            "runtime": msgspec.to_builtins(runtime),
            "benchmarks": [{"id": each, "name": each, "category": "test"} for each in benchmarks],
        }

    def write(self) -> None:
        """Write the files."""
        for name in ("providers", "collections"):  # a server without such a directory reads the bundled one
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "config.yaml").write_text(yaml.safe_dump(msgspec.to_builtins(self.sections)), "utf-8")
        for provider_id, provider in self.providers.items():
            (self.folder / "providers" / f"{provider_id}.yaml").write_text(yaml.safe_dump(provider), "utf-8")


class ServerProcess:
    """A process ``eval-hub-server --local`` on a free loopback port, as a context manager.

    ``url`` and ``client`` (a :class:`evalhub_server.client.Client`) reach it. The port stays the same after a restart, because
    adapters outlive a server.
    """

    def __init__(self, config: ServerConfig, data_dir: Path, *, timeout_s: float = 60.0) -> None:
        """``timeout_s`` limits a start, a stop and a job."""
        self.config = config
        self.data_dir = data_dir
        self.url = ""
        self._timeout_s = timeout_s
        self._log = config.folder.parent / f"{config.folder.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def client(self) -> Client:
        return Client(self.url, timeout_s=self._timeout_s)

    @property
    def pid(self) -> int:
        """The id of the process; 0 if it does not run."""
        return self._process.pid if self._process is not None and self._process.poll() is None else 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Write the configuration, start the process and wait until it responds.

        Raises:
            AssertionError: it does not start; the text has its log.
        """
        self.config.write()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(NOT_INHERITED)}
        # The start is found in the log.
        own = {"PORT": self.url.rpartition(":")[2] or "0", "LOG_FORMAT": "json", "LOG_LEVEL": "info"}
        command = [sys.executable, "-m", "evalhub_server", "serve", "--local"]
        command += ["--configdir", str(self.config.folder), "--data-dir", str(self.data_dir)]
        with self._log.open("ab") as log:
            already = log.tell()
            self._process = subprocess.Popen(  # noqa: S603  this program
                command,
                env={**inherited, **self.config.environment, **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            self._wait_for_start(already)
        except BaseException:
            self.kill()
            raise

    def _wait_for_start(self, already: int) -> None:
        def url() -> str:
            found = _url_in(self._log.read_bytes()[already:])
            if not found and not self.pid:
                raise AssertionError(f"the server cannot start:\n{self.log_text()[-5000:]}")
            return found

        self.url = self.until(url, "the start of the server")

    def stop(self) -> int:
        """Send SIGTERM and return the exit status. Workloads of runtimes that survive a restart keep running."""
        if self._process is None:
            return 0
        self._process.terminate()
        try:
            return self._process.wait(self._timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"the server did not exit within {self._timeout_s:g} s after SIGTERM"
            ) from None

    def kill(self) -> None:
        """Send SIGKILL, as a crash of the host would end it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def restart(self) -> None:
        """Stop it, and start it with the present configuration."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Cancel unfinished jobs, and stop the server. Kills what a server that was killed has left running.

        Raises:
            AssertionError: it does not exit with status 0.
        """
        status = 0
        if self.pid:
            with suppress(ClientError):
                for job in list(self.client.jobs.iterate(status="pending|running")):
                    self.client.jobs.cancel(job["resource"]["id"])
            status = self.stop()
        own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        for pid in processes_of([str(self.data_dir)]).keys() - own:
            kill(pid)
        if status:
            raise AssertionError(f"the server exited with status {status}:\n{self.log_text()[-5000:]}")

    def submit(
        self,
        *,
        score: float = 1.0,
        samples: int = 0,
        log_lines: Sequence[str] = (),
        failure: str = "",
        exit_status: int = 0,
        hangs: bool = False,
        provider: str = "tiny",
        benchmark: str = "tiny",
        **fields: Any,
    ) -> str:
        """Submit a job over one benchmark, and return its id.

        The first arguments define what :class:`TinyAdapter` does: it prints ``log_lines``; then it hangs until it is stopped, exits
        with ``exit_status`` without a result, fails with the text ``failure``, or reports ``score`` and writes ``samples`` samples.
        ``fields`` are others of the request, such as ``experiment`` and ``exports``; ``client.jobs.create`` takes any request.
        """
        behaviour = {
            "score": score,
            "samples": samples,
            "log_lines": list(log_lines),
            "failure": failure,
            "exit_status": exit_status,
            "hangs": hangs,
        }
        request: dict[str, Any] = {
            "name": "a job",
            "model": {"url": "http://model.invalid/v1", "name": "a-model"},
            "benchmarks": [{"id": benchmark, "provider_id": provider, "parameters": behaviour}],
        }
        return self.client.jobs.create(request | fields)["resource"]["id"]

    def wait(self, job_id: str) -> Job:
        """Wait until the job has ended; returns it.

        Raises:
            AssertionError: it has not ended in time.
        """

        def ended() -> Job | None:
            job = self.client.jobs.get(job_id)
            return job if is_terminal(job) else None

        return self.until(ended, f"the end of job {job_id}")

    def wait_for_exports(self, job_id: str) -> list[dict[str, Any]]:
        """Wait until no requested export of an ended job is pending; returns ``results.exports`` of the job.

        Raises:
            AssertionError: one is still pending.
        """

        found: list[dict[str, Any]] = []

        def delivered() -> bool:
            job: dict[str, Any] = dict(self.client.jobs.get(job_id))
            found[:] = job.get("results", {}).get("exports", [])
            return all(each["state"] != "pending" for each in found)

        self.until(delivered, f"the delivery of the exports of job {job_id}")
        return found

    def until(self, condition: Callable[[], T | None], what: str) -> T:
        """Return the first true value of ``condition``; fails with ``what`` after ``timeout_s``."""
        deadline = time.monotonic() + self._timeout_s
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise AssertionError(f"not within {self._timeout_s:g} s: {what}")
            time.sleep(PAUSE_S)
        return value

    def run_job(self, **arguments: Any) -> Job:
        """Submit a job as :meth:`submit` does, and wait until it has ended; returns it."""
        return self.wait(self.submit(**arguments))

    def log_text(self) -> str:
        """The log since the first start: lines of JSON."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""


class _LogLine(msgspec.Struct, frozen=True):
    msg: str = ""
    url: str = ""


def _url_in(log: bytes) -> str:
    """The URL of the line that reports the start; empty if it is not written yet."""
    for line in log.splitlines():
        with suppress(msgspec.MsgspecError):
            entry = msgspec.json.decode(line, type=_LogLine)
            if entry.msg == "API Server starting":
                return entry.url
    return ""
