"""Adapters of real evaluation frameworks in tests: their environment, its search path, and a provider that runs them."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import coverage

from harness.answering import Reply, Request
from harness.frameworks import installed_framework
from harness.model_server import ModelServer
from harness.packaging import PROJECT
from harness.quickstart import JobDirectory

LM_EVAL = "lm_evaluation_harness"
MEASURE = """
import os
if any(name.startswith("COVERAGE_PROCESS") for name in os.environ):
    import coverage
    coverage.process_startup()
"""


def search_path(folder: Path) -> str:
    """A directory for ``PYTHONPATH`` with the adapters' packages alone, and what measures coverage in a foreign environment."""
    folder.mkdir(exist_ok=True)
    for package in ("evalhub_adapters", "evalhub_common"):
        (folder / package).symlink_to(PROJECT / "evalhub" / package)
    (folder / "coverage").symlink_to(Path(coverage.__file__).parent)
    (folder / "sitecustomize.py").write_text(MEASURE, encoding="utf-8")
    return str(folder)


def offline(folder: Path) -> dict[str, str]:
    """Variables for data sets without a network, cached below ``folder``."""
    return {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf"), "PYTHONPATH": search_path(folder / "path")}


@dataclass(frozen=True)
class Framework:
    """An environment with a framework, the folder with its data sets, and the variables of its adapter."""

    python: Path
    module: str
    data: Path
    variables: Mapping[str, str]

    @property
    def program(self) -> list[str | Path]:
        return [self.python, "-m", self.module]

    @property
    def command(self) -> str:
        return f"exec '{self.python}' -m {self.module}"


def framework(name: str, module: str, folder: Path) -> Framework:
    """The managed environment ``name``, with empty data below ``folder``. The first call downloads some hundred MB."""
    adapters = Path(installed_framework(name)["EVALHUB_ADAPTERS_DIR"])
    data = folder / "data"
    data.mkdir()
    variables = {**offline(folder), "EVALHUB_TEST_DATA_DIR": str(data), "HOME": str(folder)}
    return Framework(adapters / name / "current" / "bin" / "python", module, data, variables)


def stopped_by_sigterm(
    job: JobDirectory, model: ModelServer, text: str, number: int, variables: Mapping[str, str]
) -> str:
    """Run the adapter until its request ``number`` with ``text``, then stop it by SIGTERM; returns its output."""
    held, go_on = threading.Event(), threading.Event()

    def hold() -> Reply:
        held.set()
        go_on.wait(60)
        return Reply(500)

    Interrupted(model, text, number, hold)
    with job.start(**variables) as process:
        assert held.wait(120)
        process.send_signal(signal.SIGTERM)
        output, errors = process.communicate(timeout=30)
    go_on.set()
    assert process.returncode == 143, (output, errors)
    assert "stopped by SIGTERM" in output
    return output


class Interrupted:
    """The answers of a model, except for the request number ``number`` with ``text``, which ``instead`` answers."""

    def __init__(self, model: ModelServer, text: str, number: int, instead: Callable[[], Reply]) -> None:
        self._answer = model.answer
        self._text = text.encode()
        self._number = number
        self._instead = instead
        self.questions = 0
        model.answer = self

    def __call__(self, request: Request) -> Reply | None:
        self.questions += self._text in request.body
        wanted = self.questions == self._number and self._text in request.body
        return self._instead() if wanted else self._answer(request)
