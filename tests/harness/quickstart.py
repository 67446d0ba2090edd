"""Real servers and real processes for the tests of the quickstart provider."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import evalhub_quickstart
from harness.answering import AnsweringServer, Reply, Request, Script

DEADLINE_S = 30
PACKAGE_ROOT = str(Path(evalhub_quickstart.__file__).parent.parent)


NO_CONTENT = Reply(204)


def _is_progress(event: dict[str, Any]) -> bool:
    return event["status"] == "running" and "metrics" in event


class CallbackServer(AnsweringServer):
    """The server's side of the events: accepts all, unless a script overrides it."""

    def __init__(self, answer: Script = lambda _: NO_CONTENT, *, port: int = 0) -> None:
        super().__init__(answer, port=port)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All events except for reports of progress, whose number depends on the time that a run takes."""
        return [event for event in self._all if not _is_progress(event)]

    @property
    def progress(self) -> list[dict[str, Any]]:
        """The reports of progress."""
        return [event for event in self._all if _is_progress(event)]

    @property
    def _all(self) -> list[dict[str, Any]]:
        return [request.document["benchmark_status_event"] for request in self.requests]

    @property
    def last(self) -> dict[str, Any]:
        return self.events[-1]

    @property
    def error(self) -> dict[str, str]:
        """The message of the only terminal event, which must be a failure."""
        terminal = [event for event in self.events if event["status"] != "running"]
        assert [event["status"] for event in terminal] == ["failed"]
        return terminal[0]["error_message"]


def chat_answer(text: str, tokens: int | None = None, **headers: str) -> Reply:
    """A chat completion, with a token count only if one is given."""
    usage = {} if tokens is None else {"usage": {"completion_tokens": tokens}}
    document = {"choices": [{"index": 0, "message": {"role": "assistant", "content": text}}], **usage}
    return _json(200, document, headers)


def error_answer(status: int, message: str, **headers: str) -> Reply:
    """An error in OpenAI's shape. Underscores in the names of ``headers`` stand for dashes."""
    return _json(status, {"error": {"message": message}}, headers)


def _json(status: int, document: object, headers: dict[str, str]) -> Reply:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(document).encode(), {"Content-Type": "application/json", **named})


def prompt_of(request: Request) -> str:
    return request.document["messages"][0]["content"]


def is_probe(request: Request) -> bool:
    return prompt_of(request).startswith("Reply with the single word")


@dataclass(frozen=True)
class Finished:
    """A process that has exited."""

    status: int
    output: str
    errors: str


@dataclass
class JobDirectory:
    """A job directory as the server lays it out, and the adapter processes that work in it."""

    directory: Path
    callback_url: str
    document: dict[str, Any] = field(default_factory=dict[str, Any])
    program: Sequence[str | Path] = (sys.executable, "-m", "evalhub_quickstart")

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
        """Set the model and the benchmark."""
        self.document["model"]["url"] = model_url
        self.document["benchmark_id"] = benchmark_id
        self.document["parameters"] = parameters

    def write(self) -> None:
        """Write job.json."""
        self.spec_file.parent.mkdir(parents=True, exist_ok=True)
        self.spec_file.write_text(json.dumps(self.document, indent=2), encoding="utf-8")

    def start(self, **environment: str) -> subprocess.Popen[str]:
        """Write job.json and start an adapter; the caller ends it."""
        self.write()
        return start_adapter(self.program, EVALHUB_JOB_SPEC_PATH=str(self.spec_file), **environment)

    def run(self, **environment: str) -> Finished:
        return finish(self.start(**environment))


def start_adapter(
    program: Sequence[str | Path] = (sys.executable, "-m", "evalhub_quickstart"), **environment: str
) -> subprocess.Popen[str]:
    """Start an adapter with nothing of ours in its environment but ``environment``."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name != "OPENAI_API_KEY" and not name.startswith("EVALHUB_")
    }
    return subprocess.Popen(
        program,
        env={**inherited, "PYTHONPATH": PACKAGE_ROOT, **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> Finished:
    """Wait until a process exits and collect its output."""
    with process:
        try:
            output, errors = process.communicate(timeout=DEADLINE_S)
        finally:
            process.kill()
    return Finished(process.returncode, output, errors)
