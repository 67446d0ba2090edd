"""Progress display of the demo: a live table on a terminal, plain lines elsewhere, nothing with ``--json``."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from evalhub_server.cli.benchmark_progress import STEPS, ProgressCells, done_text, phase_text, step_of
from evalhub_server.cli.output import write
from evalhub_server.cli.show import metrics_text
from evalhub_server.cli.tables import number
from evalhub_server.client import Job, resources
from evalhub_server.client.resources import benchmark_results, benchmark_statuses


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


class PlainProgress(Progress):
    """Displays one line for each change of a benchmark's state or phase, and for each tenth of its samples."""

    def __init__(self) -> None:
        self._shown: dict[int, str] = {}

    def show(self, text: str) -> None:
        write(text + "\n")

    def update(self, job: Job) -> None:
        for benchmark in benchmark_statuses(job):
            text = phase_text(benchmark)
            if (progress := benchmark.get("progress")) and benchmark["status"] == "running":
                text += f", {done_text(_rounded(progress))}"
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
        self._cells = ProgressCells()

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
        for benchmark in benchmark_statuses(job):
            cells = self._cells.cells(benchmark["benchmark_index"], benchmark, now_s)
            table.add_row(benchmark["id"], *cells)
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


def _rounded(progress: resources.Progress) -> resources.Progress:
    """The progress with ``done`` rounded down to a step."""
    done, total = progress["done"], progress["total"]
    return {"done": step_of(progress) * total // STEPS if done < total else done, "total": total}


def _rows(job: Job) -> list[tuple[str, str, str, str, str]]:
    results = {result.get("benchmark_index"): result for result in benchmark_results(job)}
    rows: list[tuple[str, str, str, str, str]] = []
    for benchmark in benchmark_statuses(job):
        result = results.get(benchmark["benchmark_index"])
        test = result.get("test") if result else None
        metrics = metrics_text(result.get("metrics", {})) if result else ""
        score = f"{test.get('primary_score_metric')} {number(test.get('primary_score'))}" if test else ""
        verdict = ("pass" if test.get("pass") else "below threshold") if test else ""
        failure = benchmark["error_message"]["message"] if "error_message" in benchmark else ""
        rows.append((benchmark["id"], benchmark["status"], score, verdict, metrics or failure))
    return rows


def _summary(job: Job) -> str:
    text = f"Job {job['resource']['id']} is {job['status']['state']}"
    test = job.get("results", {}).get("test")
    if test:
        text += f"; score {number(test.get('score'))}, threshold {number(test.get('threshold'))}: "
        text += "pass" if test.get("pass") else "fail"
    return text
