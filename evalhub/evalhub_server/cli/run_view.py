"""Display of running jobs: a live table on a terminal, plain lines elsewhere, nothing with ``--json``."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, Self

from evalhub_server.cli.benchmark_progress import ProgressCells, step_of
from evalhub_server.cli.show import state_text
from evalhub_server.cli.tables import print_lines
from evalhub_server.client import Job
from evalhub_server.client.resources import TERMINAL_STATES, BenchmarkStatus, benchmark_statuses

if TYPE_CHECKING:
    from rich.table import Table

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
                step = step_of(progress) if progress else 0
                key = (job_id, status["benchmark_index"])
                value = (status["status"], status.get("phase", ""), step)
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
        self._cells = ProgressCells()

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
            key = (job_id, row.status["benchmark_index"])
            state, done, left = self._cells.cells(key, row.status, now_s)
            if row.status["status"] in TERMINAL_STATES:
                done = ""
            table.add_row(*map(Text, (row.model, row.benchmark, state, done, left)))
        return table
