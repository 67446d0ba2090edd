"""Progress display of the demo: a live table on a terminal, plain lines elsewhere, nothing with ``--json``."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from evalhub_server.cli.output import write
from evalhub_server.cli.remaining_time import RemainingTime
from evalhub_server.cli.show import duration

Job = dict[str, Any]


class Progress:
    """Base class, which displays nothing. A context manager that is open while the job runs."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def show(self, text: str) -> None:
        """Display a line of text."""

    def update(self, job: Job) -> None:
        """Display the current state of a job."""

    def results(self, job: Job) -> None:
        """Display the results of a terminal job."""


STEPS = 10
"""Lines about the progress of one benchmark."""


class PlainProgress(Progress):
    """Displays one line for each change of a benchmark's state or phase, and for each tenth of its samples."""

    def __init__(self) -> None:
        self._shown: dict[int, str] = {}

    def show(self, text: str) -> None:
        write(text + "\n")

    def update(self, job: Job) -> None:
        for benchmark in job["status"]["benchmarks"]:
            text = _state(benchmark)
            if (progress := benchmark.get("progress")) and benchmark["status"] == "running":
                text += f", {_done(progress, STEPS)}"
            if self._shown.get(benchmark["benchmark_index"]) != text:
                self._shown[benchmark["benchmark_index"]] = text
                self.show(f"{benchmark['id']}: {text}")

    def results(self, job: Job) -> None:
        width = max(len(row[0]) for row in _rows(job))
        for benchmark, state, score, verdict, metrics in _rows(job):
            self.show(f"{benchmark:{width}}  {state}  {score}  {verdict}  {metrics}")
        self.show(_summary(job))


class LiveProgress(Progress):
    """Displays a table that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, refresh_per_second=8, transient=True)
        self._times: dict[int, RemainingTime] = {}

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, text: str) -> None:
        self._console.print(text, highlight=False, soft_wrap=True)

    def update(self, job: Job) -> None:
        table = Table("Benchmark", "State", "Done", "Left")
        now_s = time.monotonic()
        for benchmark in job["status"]["benchmarks"]:
            done, left = "", ""
            if progress := benchmark.get("progress"):
                done = _done(progress)
                remaining = self._times.setdefault(benchmark["benchmark_index"], RemainingTime())
                remaining.report(now_s, progress["done"])
                estimate_s = remaining.estimate_s(now_s, progress["total"])
                if estimate_s is not None and benchmark["status"] == "running":
                    left = duration(estimate_s)
            table.add_row(benchmark["id"], _state(benchmark), done, left)
        self._live.update(table)

    def results(self, job: Job) -> None:
        table = Table("Benchmark", "State", "Score", "Verdict", "Metrics")
        for row in _rows(job):
            table.add_row(*row)
        self._console.print(table)
        self.show(_summary(job))


def make_progress(*, as_json: bool) -> Progress:
    """Select the display for standard output."""
    if as_json:
        return Progress()
    console = Console()
    return LiveProgress(console) if console.is_terminal else PlainProgress()


def _done(progress: dict[str, Any], steps: int = 0) -> str:
    """``12/40``; with ``steps``, ``done`` is rounded down to a multiple of this share of the total."""
    done, total = progress["done"], progress["total"]
    if steps and done < total:
        done = int(done * steps / total) * total // steps
    return f"{_number(done)}/{_number(total)}"


def _state(benchmark: dict[str, Any]) -> str:
    phase = benchmark.get("phase", "")
    state = benchmark["status"]
    return f"{state} ({phase.replace('_', ' ')})" if state == "running" and phase else state


def _rows(job: Job) -> list[tuple[str, str, str, str, str]]:
    results = {result["benchmark_index"]: result for result in job["results"].get("benchmarks", [])}
    rows: list[tuple[str, str, str, str, str]] = []
    for benchmark in job["status"]["benchmarks"]:
        result = results.get(benchmark["benchmark_index"], {})
        test = result.get("test")
        metrics = ", ".join(f"{name}={_number(value)}" for name, value in result.get("metrics", {}).items())
        score = f"{test['primary_score_metric']} {_number(test['primary_score'])}" if test else ""
        verdict = ("pass" if test["pass"] else "below threshold") if test else ""
        failure = benchmark.get("error_message", {}).get("message", "")
        rows.append((benchmark["id"], benchmark["status"], score, verdict, metrics or failure))
    return rows


def _summary(job: Job) -> str:
    text = f"Job {job['resource']['id']} is {job['status']['state']}"
    test = job["results"].get("test")
    if test:
        text += f"; score {_number(test['score'])}, threshold {_number(test['threshold'])}: "
        text += "pass" if test["pass"] else "fail"
    return text


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
