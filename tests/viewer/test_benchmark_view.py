"""A benchmark as pages show it: silence, durations, metrics."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from msgspec.structs import replace

from evalhub_server.domain.job_changes import with_benchmark
from evalhub_server.engine.progress_rates import UNKNOWN
from evalhub_server.models.common import State
from evalhub_server.models.progress import Progress
from evalhub_server.testing.builders import a_job
from evalhub_server.viewer.benchmark_view import BenchmarkView, benchmark_view, metric_rows

NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)


def view(**record: Any) -> BenchmarkView:
    job = a_job(state=State.RUNNING)
    return benchmark_view(with_benchmark(job, replace(job.benchmarks[0], **record)), 0, None, UNKNOWN, NOW)


def progress(ago_s: float, done: float = 5, total: float = 10) -> Progress:
    return Progress(done=done, total=total, reported_at=NOW - timedelta(seconds=ago_s))


def test_a_running_benchmark_without_progress_for_long_is_silent() -> None:
    assert view(state=State.RUNNING, progress=progress(91)).silent_s == 91
    assert view(state=State.RUNNING, progress=progress(90)).silent_s is None
    assert view(state=State.COMPLETED, progress=progress(91)).silent_s is None
    assert view(state=State.RUNNING).silent_s is None


def test_the_share_done_is_never_above_one() -> None:
    assert view(state=State.RUNNING, progress=progress(1)).done == 0.5
    assert view(state=State.RUNNING, progress=progress(1, 12)).done == 1
    assert view(state=State.RUNNING, progress=progress(1, 5, 0)).done is None


def test_the_duration_ends_now_while_it_runs() -> None:
    started = "2026-11-30T11:59:00Z"
    assert view(state=State.RUNNING, started_at=started).duration_s == 60
    ended = view(state=State.FAILED, started_at=started, completed_at="2026-11-30T11:59:30+00:00")
    assert ended.duration_s == 30
    assert view(state=State.PENDING).duration_s is None
    assert view(state=State.COMPLETED, started_at=started).duration_s is None


def test_standard_errors_belong_to_their_metrics() -> None:
    rows = metric_rows({"f1": 0.5, "acc": 0.8, "acc_stderr": 0.01, "stderr": 0.02, "x_stderr": 1}, "acc")
    assert [(row.name, row.error, row.primary) for row in rows] == [
        ("acc", 0.01, True),
        ("f1", None, False),
        ("x_stderr", None, False),
    ]
    (other,) = metric_rows({"acc,strict": float("nan")}, "f1")
    assert (other.name, other.filter, other.number, other.text) == ("acc", "strict", None, "null")
