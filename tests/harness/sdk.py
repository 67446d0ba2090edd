"""The published SDK, installed from PyPI into a virtual environment of its own, as its users have it."""

from __future__ import annotations

import hashlib
import json
import os
import queue
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from harness.environments import installed

VERSION = "1.0.6"
REQUIREMENT = f"eval-hub-sdk[client,cli,adapter]=={VERSION}"
PROJECT = Path(__file__).parents[2]
LOOPBACK_WITHOUT_PROXY = {"NO_PROXY": "localhost,127.0.0.1", "no_proxy": "localhost,127.0.0.1"}


class Finished(NamedTuple):
    """Outcome of a command."""

    status: int
    output: str
    errors: str


class Sdk:
    """The SDK's environment. ``home`` is the user's home directory for its programs."""

    def __init__(self, folder: Path, home: Path) -> None:
        self.python = folder / "bin" / "python"
        self._bin = folder / "bin"
        self._env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("EVALHUB_")},
            **LOOPBACK_WITHOUT_PROXY,
            "HOME": str(home),
            "EVALHUB_CONFIG": str(home / "config.yaml"),
            "COLUMNS": "200",  # or the tables of the command line fold their cells
            "PATH": f"{self._bin}{os.pathsep}{os.environ.get('PATH', os.defpath)}",  # as if it were activated
        }

    @classmethod
    def installed(cls, cache: Path, home: Path) -> Self:
        """Create the environment below ``cache``, or use that of an earlier or parallel run."""
        return cls(installed(cache, VERSION, REQUIREMENT), home)

    @classmethod
    def installed_with_server(cls, cache: Path, home: Path) -> Self:
        """The same with this checkout's distribution beside the SDK, whose files it uses where they lie."""
        state = hashlib.sha256((PROJECT / "pyproject.toml").read_bytes() + str(PROJECT).encode())
        name = f"{VERSION}-{state.hexdigest()[:12]}"
        return cls(installed(cache, name, REQUIREMENT, "--editable", str(PROJECT)), home)

    def run(self, program: str, *words: str, timeout_s: float = 60.0) -> Finished:
        """Run one of the environment's programs until it exits."""
        done = subprocess.run(
            [self._bin / program, *words],
            env=self._env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        return Finished(done.returncode, done.stdout, done.stderr)

    def start_in_background(self, program: str, *words: str) -> subprocess.Popen[bytes]:
        """Start one of the environment's programs as the leader of its own process group, as a terminal does."""
        return subprocess.Popen(
            [self._bin / program, *words],
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a Python program that communicates over its standard streams."""
        return subprocess.Popen(
            [self.python, *words],
            env=self._env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )


class RaisedError(Exception):
    """Exception of an SDK method: ``kind`` is the name of its class, ``facts`` are its attributes."""

    def __init__(self, kind: str, text: str, facts: dict[str, Any]) -> None:
        super().__init__(f"{kind}: {text}")
        self.kind = kind
        self.text = text
        self.facts = facts


class RemoteClient:
    """A client of the SDK in its own interpreter, driven by lines of JSON; see ``compat/scripts/client.py``.

    ``client("jobs.get", job_id)`` calls ``client.jobs.get(job_id)`` there and returns what it returned, as JSON
    has it.
    """

    def __init__(self, sdk: Sdk, script: Path, kind: str, url: str) -> None:
        self._process = sdk.start(str(script), kind, url)
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._calls = 0
        self._reader = threading.Thread(target=self._read, name="sdk-client-answers")
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._process as process:
            if kind is not None:
                process.kill()
            assert process.stdin is not None
            process.stdin.close()
            self._reader.join()

    def __call__(self, method: str, *arguments: Any, **named: Any) -> Any:
        self.begin(method, *arguments, **named)
        return self.answer()

    def begin(self, method: str, *arguments: Any, **named: Any) -> None:
        """Start a call; :meth:`answer` fetches its outcome."""
        assert self._process.stdin is not None
        self._calls += 1
        self._process.stdin.write(json.dumps([self._calls, method, arguments, named]) + "\n")
        self._process.stdin.flush()

    @property
    def waiting(self) -> bool:
        """True until there is an answer to fetch."""
        return self._answers.empty()

    def answer(self, timeout_s: float = 60.0) -> Any:
        """Wait for the call's return value. Raises :class:`RaisedError` if it raised."""
        answer: dict[str, Any] = {"call": 0}
        while answer["call"] < self._calls:  # an earlier test may have left without its answer
            line = self._answers.get(timeout=timeout_s)
            assert line, "the SDK's interpreter has ended"
            answer = json.loads(line)
        if "raised" in answer:
            raise RaisedError(answer["raised"], answer["text"], answer["facts"])
        return answer["returned"]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")
