"""Rates and remaining times of running benchmarks."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from evalhub_server.domain.job_changes import JobChanged, with_benchmark
from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.engine.progress_rates import UNKNOWN, Pace, ProgressRates
from evalhub_server.models.common import State
from evalhub_server.models.progress import Progress
from evalhub_server.testing.builders import a_job

NOW = datetime(2026, 11, 30, tzinfo=UTC)


class Reports:
    """A running job whose reports pass through ``rates`` at chosen times."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.rates = ProgressRates(lambda: self.now_s)
        self.job = self._running(a_job(state=State.RUNNING))

    def _running(self, job: JobRecord) -> JobRecord:
        return with_benchmark(job, replace(job.benchmarks[0], state=State.RUNNING))

    def change(self, after: JobRecord | None) -> None:
        self.rates.changed(JobChanged(before=self.job, after=after))
        self.job = after or self.job

    def report(self, now_s: float, done: float, total: float, *, attempt: int = 1) -> None:
        self.now_s = now_s
        progress = Progress(done=done, total=total, reported_at=NOW)
        self.change(
            with_benchmark(self.job, replace(self.job.benchmarks[0], progress=progress, attempt=attempt))
        )

    @property
    def pace(self) -> Pace:
        return self.rates.pace(self.job, 0)


@pytest.fixture
def reports() -> Reports:
    found = Reports()
    found.report(0, 0, 1000)
    found.report(10, 10, 1000)
    return found


def test_there_is_no_estimate_before_enough_is_done(reports: Reports) -> None:
    assert reports.pace == Pace(1.0, None)
    reports.report(20, 20, 1000)
    assert reports.pace == Pace(1.0, 980.0)


def test_five_percent_are_enough() -> None:
    reports = Reports()
    assert reports.pace == UNKNOWN
    reports.report(0, 0, 40)
    reports.report(10, 2, 40)
    assert reports.pace.remaining_s == 190


def test_a_new_attempt_a_finished_and_a_deleted_job_have_none(reports: Reports) -> None:
    reports.report(20, 500, 1000, attempt=2)
    assert reports.pace == UNKNOWN
    for end in (with_changes(reports.job, state=State.COMPLETED), None):
        found = Reports()
        found.report(0, 1, 10)
        found.report(10, 5, 10)
        assert found.pace.rate_per_s is not None
        found.change(end and with_changes(found.job, state=State.COMPLETED))
        assert found.pace == UNKNOWN


def test_a_change_of_something_else_and_an_empty_one_do_not_count(reports: Reports) -> None:
    reports.change(with_changes(reports.job, pinned=True))
    reports.rates.changed(JobChanged(before=None, after=None))
    assert reports.pace.rate_per_s == 1


def test_only_the_newest_benchmarks_are_kept(monkeypatch: pytest.MonkeyPatch, reports: Reports) -> None:
    monkeypatch.setattr("evalhub_server.engine.progress_rates.MAX_BENCHMARKS", 1)
    other = with_benchmark(a_job(state=State.RUNNING), reports.job.benchmarks[0])
    progress = Progress(done=5, total=10, reported_at=NOW)
    after = with_benchmark(other, replace(other.benchmarks[0], progress=progress))
    reports.rates.changed(JobChanged(before=other, after=after))
    assert reports.pace == UNKNOWN
