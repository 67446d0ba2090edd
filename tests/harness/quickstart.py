"""Real servers and real processes for the tests of the quickstart provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import evalhub_quickstart
from evalhub_quickstart.loopback import HOST, Handler, LoopbackServer

DEADLINE_S = 30
PACKAGE_ROOT = str(Path(evalhub_quickstart.__file__).parent.parent)


Answer = tuple[int, bytes, dict[str, str]]
NO_CONTENT: Answer = (204, b"", {})


@dataclass(frozen=True)
class Received:
    """One request that a server got. ``number`` counts from 0; ``client_port`` tells connections apart."""

    number: int
    client_port: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]


class RecordingServer(LoopbackServer):
    """Records every POST and answers what ``script`` returns; None drops the connection."""

    def __init__(self, script: Callable[[Received], Answer | None], *, port: int = 0) -> None:
        self.received: list[Received] = []
        self._changed = threading.Condition()
        server = self

        class Recorder(Handler):
            def do_POST(self) -> None:  # noqa: N802  the name is fixed
                content = self.rfile.read(int(self.headers["Content-Length"]))
                received = server.record(
                    self.client_address[1], self.path, dict(self.headers), json.loads(content)
                )
                answer = script(received)
                if answer is None:
                    self.close_connection = True
                    return
                status, body, headers = answer
                self.respond(status, "application/json", body, **headers)

        super().__init__(Recorder, port=port)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    def record(self, client_port: int, path: str, headers: dict[str, str], body: dict[str, Any]) -> Received:
        with self._changed:
            self.received.append(Received(len(self.received), client_port, path, headers, body))
            self._changed.notify_all()
            return self.received[-1]

    def wait_for(self, count: int) -> None:
        """Return when ``count`` requests have come in."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.received) >= count, DEADLINE_S), self.received


class CallbackServer(RecordingServer):
    """The server's side of the events: takes them all, unless a script says otherwise."""

    def __init__(self, script: Callable[[Received], Answer] = lambda _: NO_CONTENT, *, port: int = 0) -> None:
        super().__init__(script, port=port)

    @property
    def events(self) -> list[dict[str, Any]]:
        return [received.body["benchmark_status_event"] for received in self.received]

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def error(self) -> dict[str, str]:
        """The message of the only terminal event, which has to say that the benchmark failed."""
        terminal = [event for event in self.events if event["status"] != "running"]
        assert [event["status"] for event in terminal] == ["failed"]
        return terminal[0]["error_message"]


def chat_answer(text: str, tokens: int | None = None) -> Answer:
    """A chat completion, with a token count only if one is given."""
    usage = {} if tokens is None else {"usage": {"completion_tokens": tokens}}
    document = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}], **usage}
    return 200, json.dumps(document).encode(), {}


def error_answer(status: int, message: str, **headers: str) -> Answer:
    """An error in OpenAI's shape."""
    return status, json.dumps({"error": {"message": message}}).encode(), headers


def prompt_of(received: Received) -> str:
    return received.body["messages"][0]["content"]


def is_probe(received: Received) -> bool:
    return prompt_of(received).startswith("Reply with the single word")


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    status: int
    output: str
    errors: str


@dataclass
class JobDirectory:
    """A job directory as the server lays it out, and the adapter processes that work in it."""

    directory: Path
    callback_url: str
    document: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        self.document = {
            "id": "4dd1b9a5-6f0e-4d5e-9f53-0a6a4a2d7c11",
            "provider_id": "quickstart",
            "benchmark_id": "arithmetic",
            "benchmark_index": 3,
            "model": {"url": "", "name": "some-model"},
            "parameters": {},
            "callback_url": self.callback_url,
            **self.document,
        }

    @property
    def spec_file(self) -> Path:
        return self.directory / "meta" / "job.json"

    @property
    def samples_file(self) -> Path:
        return self.directory / "results" / "samples.jsonl"

    @property
    def samples(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.samples_file.read_text(encoding="utf-8").splitlines()]

    def use(self, model_url: str, benchmark_id: str = "arithmetic", **parameters: Any) -> None:
        """Choose what to run on what."""
        self.document["model"]["url"] = model_url
        self.document["benchmark_id"] = benchmark_id
        self.document["parameters"] = parameters

    def start(self, **environment: str) -> subprocess.Popen[str]:
        """Write job.json and start an adapter; the caller ends it."""
        self.spec_file.parent.mkdir(parents=True, exist_ok=True)
        self.spec_file.write_text(json.dumps(self.document, indent=2), encoding="utf-8")
        return start_adapter(EVALHUB_JOB_SPEC_PATH=str(self.spec_file), **environment)

    def run(self, **environment: str) -> Finished:
        return finish(self.start(**environment))


def start_adapter(**environment: str) -> subprocess.Popen[str]:
    """Start ``python -m evalhub_quickstart`` with nothing of ours in its environment but ``environment``."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name != "OPENAI_API_KEY" and not name.startswith("EVALHUB_")
    }
    return subprocess.Popen(
        [sys.executable, "-m", "evalhub_quickstart"],
        env={**inherited, "PYTHONPATH": PACKAGE_ROOT, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> Finished:
    """Wait for the end of a process and collect what it wrote."""
    with process:
        try:
            output, errors = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    return Finished(process.returncode, output, errors)
