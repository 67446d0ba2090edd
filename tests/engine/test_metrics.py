"""What is counted of committed changes, without a server around."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from functools import partial

from evalhub_server.domain import transitions
from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import Exit, JobPlan, JobRecord, PlannedBenchmark
from evalhub_server.engine.metric_family import MAX_LABEL_CHARS, CounterValue, HistogramValue, MetricFamily
from evalhub_server.engine.metrics import JobMetrics
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.testing.builders import EPOCH, a_job

LATER = EPOCH + timedelta(days=1)


class Story:
    """A job that changes, and metrics that hear of each change."""

    def __init__(self, job: JobRecord) -> None:
        self.metrics = JobMetrics("local")
        self.job = job
        self.metrics.on_change(JobChanged(before=None, after=job))

    def then(self, change: Callable[[JobRecord], JobRecord]) -> Story:
        before, self.job = self.job, change(self.job)
        if self.job is not before:
            self.metrics.on_change(JobChanged(before=before, after=self.job))
        return self

    def report(self, status: str, index: int = 0, **fields: str) -> Story:
        planned = self.job.plan.benchmarks[index]
        event = BenchmarkEvent(
            provider_id=planned.provider_id, id=planned.id, benchmark_index=index, status=status, **fields
        )
        return self.then(lambda job: transitions.apply_event(job, event, LATER))

    def exit(self, index: int = 0) -> Story:
        return self.then(lambda job: transitions.exited(job, index, Exit(code=3), "", LATER))


def counts(family: MetricFamily[CounterValue]) -> dict[tuple[str, ...], int]:
    return {labels: series.value for labels, series in family.series().items()}


def observed(family: MetricFamily[HistogramValue]) -> dict[tuple[str, ...], tuple[int, float]]:
    return {labels: (sum(series.counts), series.sum) for labels, series in family.series().items()}


def with_providers(*providers: str) -> JobRecord:
    planned = tuple(PlannedBenchmark(id=f"bench-{p}", provider_id=p) for p in providers)
    return a_job(size=len(providers), plan=JobPlan(benchmarks=planned))


def test_each_state_that_a_job_reaches_counts_once_for_each_of_its_providers():
    story = Story(with_providers("one", "two", "one"))
    for index in range(3):
        story.report("running", index).report("completed", index)
    assert counts(story.metrics.jobs) == {
        (provider, "", state): 1
        for provider in ("one", "two")
        for state in ("pending", "running", "completed")
    }
    assert counts(story.metrics.completions) == {("completed",): 1}
    assert counts(story.metrics.benchmarks) == {
        ("bench-one", "one", "completed"): 2,
        ("bench-two", "two", "completed"): 1,
    }


def test_only_the_provider_whose_benchmark_failed_has_an_error():
    story = Story(with_providers("good", "bad")).report("completed", 0).report("failed", 1)
    assert counts(story.metrics.errors) == {("job_failed", "bad"): 1}
    assert counts(story.metrics.completions) == {("partially_failed",): 1}


def test_a_late_result_counts_beside_what_was_assumed_but_the_job_lasted_once():
    story = Story(a_job()).report("running").exit()
    assert counts(story.metrics.completions) == {("failed",): 1}
    story.report("completed")
    assert counts(story.metrics.completions) == {("failed",): 1, ("completed",): 1}
    assert counts(story.metrics.benchmarks) == {
        ("bench-0", "provider-a", "failed"): 1,
        ("bench-0", "provider-a", "completed"): 1,
    }
    ((count, seconds),) = observed(story.metrics.job_seconds).values()
    assert (count, seconds) == (1, (LATER - story.job.created_at).total_seconds())


def test_a_late_result_that_leaves_the_jobs_state_still_counts_for_its_benchmark():
    story = Story(a_job(size=3)).report("completed", 0).exit(1).exit(2)
    story.report("completed", 1)
    assert story.job.state == "partially_failed"
    assert counts(story.metrics.completions) == {("partially_failed",): 1}
    assert counts(story.metrics.benchmarks)["bench-1", "provider-a", "completed"] == 1


def test_a_cancelled_job_counts_as_an_action_once():
    story = Story(a_job(size=2)).report("completed", 0)
    story.then(lambda job: transitions.cancel(job, LATER)).exit(1)
    assert counts(story.metrics.actions) == {("created", "local"): 1, ("cancelled", "local"): 1}
    assert counts(story.metrics.benchmarks) == {
        ("bench-0", "provider-a", "completed"): 1,
        ("bench-1", "provider-a", "cancelled"): 1,
    }


def test_benchmarks_that_cannot_be_started_are_errors_and_their_job_is_one_action():
    story = Story(a_job(size=2))
    for index in range(2):
        story.then(lambda job, index=index: transitions.launch_failed(job, index, "no shell", LATER))
    assert counts(story.metrics.errors) == {
        ("runtime_start_failed", "provider-a"): 2,
        ("job_failed", "provider-a"): 1,
    }
    assert counts(story.metrics.runtime_errors) == {("local",): 2}
    assert counts(story.metrics.actions) == {("created", "local"): 1, ("runtime_start_failed", "local"): 1}


def test_how_long_a_benchmark_took_is_what_its_results_say():
    times = {"started_at": "2026-01-02T00:00:00Z", "completed_at": "2026-01-02T00:00:03.5+00:00"}
    story = Story(a_job()).report("completed", **times)
    assert observed(story.metrics.benchmark_seconds) == {("bench-0", "provider-a"): (1, 3.5)}


def test_a_benchmark_that_ends_before_it_starts_has_no_duration():
    times = {"started_at": "2026-01-02T00:00:01Z", "completed_at": "2026-01-02T00:00:00Z"}
    story = Story(a_job()).report("completed", **times)
    assert observed(story.metrics.benchmark_seconds) == {}


def test_names_beyond_the_limit_and_very_long_ones_count_together():
    family = MetricFamily(
        "a", "", ("provider", "status"), CounterValue, open_labels=("provider",), max_series=3
    )
    for provider in ("one", "two", "x" * (MAX_LABEL_CHARS + 1), "three", "four", "one"):
        family.labels(provider, "completed").inc()
    assert counts(family) == {
        ("one", "completed"): 2,
        ("two", "completed"): 1,
        ("other", "completed"): 3,
    }


def test_a_value_at_a_bound_belongs_below_it():
    distribution = HistogramValue((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 2.5):
        distribution.observe(value)
    assert (distribution.counts, distribution.sum) == ([2, 2, 1], 7.5)


def test_a_series_makes_a_cell_of_its_own_for_each_set_of_labels():
    family = MetricFamily("a", "", ("state",), partial(HistogramValue, (1.0,)))
    family.labels("one").observe(0.5)
    family.labels("two").observe(3)
    assert observed(family) == {("one",): (1, 0.5), ("two",): (1, 3.0)}
