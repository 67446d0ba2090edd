"""Resources of jobs with benchmarks that are encoded once."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from evalhub_server.domain.job_view import benchmark_view, job_resource
from evalhub_server.domain.record import BenchmarkRecord, JobRecord, PlannedBenchmark, with_changes
from evalhub_server.domain.transitions import apply_event
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.testing.builders import a_job
from evalhub_server.web import job_encoding
from evalhub_server.web.job_encoding import MANY_BENCHMARKS, EncodedJobs

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
encode = msgspec.json.encode


def reported(job: JobRecord, index: int, seconds: int = 0) -> JobRecord:
    event = BenchmarkEvent(
        provider_id="provider-a",
        id=f"bench-{index}",
        benchmark_index=index,
        status="completed",
        metrics={"acc": 0.5},
    )
    return apply_event(job, event, NOON + timedelta(seconds=seconds))


def states(job: JobRecord) -> Iterator[JobRecord]:
    """A job as it is with each report, until all its benchmarks have reported."""
    yield job
    for index in range(len(job.benchmarks)):
        job = reported(job, index, index)
        yield job


@pytest.fixture
def viewed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The indices of the benchmarks that are converted."""
    indices: list[int] = []

    def counted(planned: PlannedBenchmark, benchmark: BenchmarkRecord):
        indices.append(benchmark.index)
        return benchmark_view(planned, benchmark)

    monkeypatch.setattr(job_encoding, "benchmark_view", counted)
    return indices


@pytest.mark.parametrize("size", [1, MANY_BENCHMARKS, MANY_BENCHMARKS + 1])
def test_a_job_is_encoded_like_its_resource_at_any_time(size: int):
    encoded = EncodedJobs()
    for job in states(a_job(size=size)):
        assert encode(encoded(job)) == encode(job_resource(job))


def test_what_has_not_changed_is_not_encoded_again(viewed: list[int]):
    encoded, job = EncodedJobs(), a_job(size=MANY_BENCHMARKS)
    encoded(job)
    viewed.clear()
    encoded(reported(reported(job, 3), 5))
    assert viewed == [3, 5]


def test_another_definition_is_encoded_as_a_whole(viewed: list[int]):
    encoded, job = EncodedJobs(), a_job(size=MANY_BENCHMARKS)
    encoded(job)
    viewed.clear()
    other = with_changes(job, plan=msgspec.structs.replace(job.plan))
    assert encode(encoded(other)) == encode(job_resource(other))
    assert viewed == list(range(MANY_BENCHMARKS))


def test_a_finished_job_is_not_kept(viewed: list[int]):
    encoded = EncodedJobs()
    *_, last = states(a_job(size=MANY_BENCHMARKS))
    encoded(last)
    viewed.clear()
    encoded(last)
    assert viewed == list(range(MANY_BENCHMARKS))


def test_the_jobs_that_are_kept_have_a_limit_in_bytes(viewed: list[int]):
    encoded, jobs = EncodedJobs(limit_bytes=1), [a_job(size=MANY_BENCHMARKS) for _ in range(2)]
    for job in (*jobs, jobs[0]):
        encoded(job)
    assert viewed == list(range(MANY_BENCHMARKS)) * 3
