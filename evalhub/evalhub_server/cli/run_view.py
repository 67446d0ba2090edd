"""Display of running jobs: a live table on a terminal, plain lines elsewhere, nothing with ``--json``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from evalhub_server.cli.remaining_time import RemainingTime
from evalhub_server.cli.show import duration, state_text
from evalhub_server.cli.tables import number, print_lines
from evalhub_server.client import Job
from evalhub_server.client.resources import TERMINAL_STATES, BenchmarkStatus, benchmark_statuses

if TYPE_CHECKING:
    from rich.table import Table

STEPS = 10
"""Lines about the progress of one benchmark, where there is no table."""
_ORDER = {"running": 0, "pending": 1}


class Row(NamedTuple):
    """One benchmark of one job."""

    model: str
    status: BenchmarkStatus

    @property
    def benchmark(self) -> str:
        return f"{self.status['provider_id']}/{self.status['id']}"


def rows_of(jobs: dict[str, Job]) -> Iterator[Row]:
    """All benchmarks of the jobs."""
    for job in jobs.values():
        for status in benchmark_statuses(job):
            yield Row(job["model"]["name"], status)


class RunView:
    """Base class, which displays nothing. A context manager that is open while jobs run."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def update(self, jobs: dict[str, Job]) -> None:
        """Display the state of the jobs, by id."""


class PlainView(RunView):
    """One line for each change of a benchmark, and about every tenth of its samples."""

    def __init__(self) -> None:
        self._shown: dict[tuple[str, int], tuple[str, str, int]] = {}

    def update(self, jobs: dict[str, Job]) -> None:
        for job_id, job in jobs.items():
            for row in rows_of({job_id: job}):
                status = row.status
                progress = status.get("progress")
                step = (
                    int(STEPS * progress["done"] / progress["total"]) if progress and progress["total"] else 0
                )
                key, value = (
                    (job_id, status["benchmark_index"]),
                    (status["status"], status.get("phase", ""), step),
                )
                if self._shown.get(key) != value:
                    self._shown[key] = value
                    print_lines([f"{row.model}  {row.benchmark}: {state_text(status)}"])


class LiveView(RunView):
    """A table that is redrawn in place."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console()
        self._new_live = lambda: Live(console=self._console, auto_refresh=False, transient=True)
        self._live = self._new_live()
        self._times: dict[tuple[str, int], RemainingTime] = {}

    def __enter__(self) -> Self:
        self._live = self._new_live()
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def update(self, jobs: dict[str, Job]) -> None:
        self._live.update(self._table(jobs), refresh=True)

    def _table(self, jobs: dict[str, Job]) -> Table:
        from rich.table import Table
        from rich.text import Text

        now_s = time.monotonic()
        rows = [(job_id, row) for job_id, job in jobs.items() for row in rows_of({job_id: job})]
        counts = Counter(row.status["status"] for _, row in rows)
        height = max(self._console.height - 6, 4)
        if len(rows) > height:  # what runs is of most interest
            rows.sort(key=lambda each: _ORDER.get(each[1].status["status"], 2))
        table = Table(
            "Model",
            "Benchmark",
            "State",
            "Done",
            "Left",
            caption=", ".join(f"{count} {state}" for state, count in counts.items()),
        )
        for job_id, row in rows[:height]:
            cells = (row.model, row.benchmark, *self._progress_cells(job_id, row.status, now_s))
            table.add_row(*map(Text, cells))
        return table

    def _progress_cells(self, job_id: str, status: BenchmarkStatus, now_s: float) -> tuple[str, str, str]:
        state, progress = status["status"], status.get("progress")
        phase = status.get("phase", "").replace("_", " ")
        text = f"{state} ({phase})" if state == "running" and phase else state
        if progress is None or state in TERMINAL_STATES:
            return text, "", ""
        remaining = self._times.setdefault((job_id, status["benchmark_index"]), RemainingTime())
        remaining.report(now_s, progress["done"])
        estimate_s = remaining.estimate_s(now_s, progress["total"])
        done = f"{number(progress['done'])}/{number(progress['total'])}"
        return text, done, "" if estimate_s is None else duration(estimate_s)
