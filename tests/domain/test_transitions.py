"""Reports, exits, deadlines and cancellation (rest-api §4, as amended by decisions 10 and 11)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from evalhub_server.domain.planning import resolved_request
from evalhub_server.domain.record import (
    Exit,
    JobPlan,
    JobRecord,
    PlannedBenchmark,
    RefusedEvent,
    TrackedExperiment,
    with_changes,
)
from evalhub_server.domain.transitions import (
    CANCELLED,
    apply_event,
    cancel,
    event_refused,
    exited,
    launch_failed,
    launch_intended,
    launched,
    new_job,
    noticed,
    timed_out,
)
from evalhub_server.errors import ApiError
from evalhub_server.models.common import GitRef, Message, PrimaryScore, State, TestDataRef
from evalhub_server.models.event import BenchmarkEvent, EventMetricSchema, JobMeta
from evalhub_server.models.job import BenchmarkRef, CollectionRef, JobRequest, MetricSchema, Model
from evalhub_server.models.provider import MetricProperties
from evalhub_server.testing.builders import a_job

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
LATER = NOON + timedelta(minutes=5)
BOOM = Message(message="boom", message_code="bc")


def an_event(status: str, index: int = 0, **fields: Any) -> BenchmarkEvent:
    names = {"provider_id": "provider-a", "id": f"bench-{index}"}
    return BenchmarkEvent(**(names | {"benchmark_index": index, "status": status} | fields))


def after(job: JobRecord, *events: BenchmarkEvent) -> JobRecord:
    for event in events:
        job = apply_event(job, event, NOON)
    return job


def a_provisionally_failed_job(size: int = 1) -> JobRecord:
    return exited(a_job(size=size), 0, Exit(code=1), "traceback", NOON)


# --- creation -------------------------------------------------------------------------------------------------


def test_a_new_job_lists_every_benchmark_as_pending() -> None:
    planned = tuple(PlannedBenchmark(id=name, provider_id="p") for name in ("a", "b", "a"))
    job = new_job(
        "id-1",
        JobRequest(name="j", model=Model(name="m")),
        JobPlan(benchmarks=planned),
        NOON,
        tenant="t",
        owner="o",
        experiments={"mlflow": TrackedExperiment(id="7")},
    )
    assert job.state is State.PENDING
    assert job.progress.message.message == "Evaluation job created"
    assert job.progress.message.message_code == "evaluation_job_created"
    assert [(b.index, b.state) for b in job.benchmarks] == [(i, State.PENDING) for i in range(3)]
    assert job.created_at == job.progress.updated_at == NOON
    assert (job.tenant, job.owner, job.experiment) == ("t", "o", TrackedExperiment(id="7"))
    assert job.open


# --- merging --------------------------------------------------------------------------------------------------


def test_a_running_report_makes_benchmark_and_job_run() -> None:
    job = after(a_job(size=2), an_event("running", phase="initializing", started_at="2026-01-12T10:45:32Z"))
    assert job.state is State.RUNNING
    assert job.progress.message.message == "Evaluation job is running"
    assert job.progress.updated_at == NOON
    assert job.benchmarks[0].phase == "initializing"
    assert job.benchmarks[0].started_at == "2026-01-12T10:45:32Z"
    assert job.benchmarks[1].state is State.PENDING


def test_fields_that_a_report_leaves_out_keep_their_value() -> None:
    warning = Message(message="w", message_code="c", message_origin="adapter")
    job = after(
        a_job(),
        an_event("running", phase="loading_data", started_at="2026-01-12T10:45:32Z", warning_message=warning),
        an_event("running", phase="running_evaluation"),
        an_event("completed", completed_at="2026-01-12T13:00:00+02:00"),
    )
    benchmark = job.benchmarks[0]
    assert benchmark.phase == "running_evaluation"
    assert benchmark.started_at == "2026-01-12T10:45:32Z"
    assert benchmark.completed_at == "2026-01-12T13:00:00+02:00"
    assert benchmark.warning == warning


def test_times_that_were_not_reported_are_the_servers() -> None:
    job = apply_event(a_job(), an_event("running"), NOON)
    job = apply_event(job, an_event("completed"), LATER)
    assert job.benchmarks[0].started_at == "2026-05-01T12:00:00Z"
    assert job.benchmarks[0].completed_at == "2026-05-01T12:05:00Z"


def test_a_benchmark_that_only_reports_its_end_started_when_it_was_launched() -> None:
    job = launch_intended(a_job(), 0, NOON, runtime="local")
    assert apply_event(job, an_event("completed"), LATER).benchmarks[0].started_at == "2026-05-01T12:00:00Z"


def test_a_pending_benchmark_has_no_times() -> None:
    benchmark = after(a_job(), an_event("pending", phase="initializing")).benchmarks[0]
    assert (benchmark.started_at, benchmark.completed_at) == ("", "")


def test_a_completion_time_on_a_running_report_is_not_kept() -> None:
    job = after(a_job(), an_event("running", completed_at="2026-01-12T11:00:00Z"))
    assert job.benchmarks[0].completed_at == ""


def test_a_message_without_an_origin_comes_from_the_runtime() -> None:
    mine = Message(message="w", message_code="c", message_origin="sdk")
    benchmark = after(a_job(), an_event("failed", error_message=BOOM, warning_message=mine)).benchmarks[0]
    assert benchmark.error == replace(BOOM, message_origin="runtime")
    assert benchmark.warning == mine


def test_a_terminal_report_brings_the_result() -> None:
    event = an_event(
        "completed",
        metrics={"acc": 0.9, "curve": [1, 2]},
        metrics_schema=(EventMetricSchema(name="curve", type="array_ordered"),),
        additional_info={"k": 1},
        artifacts={"logs": "/x"},
        mlflow_run_id="run1",
        logs_path="/lp",
    )
    result = after(a_job(), event).benchmarks[0].result
    assert result is not None
    assert result.metrics == {"acc": 0.9, "curve": [1, 2]}
    assert result.metrics_schema == (MetricSchema(name="curve", type="array_ordered"),)
    assert result.additional_info == {"k": 1}
    assert result.artifacts == {"logs": "/x"}
    assert (result.mlflow_run_id, result.logs_path) == ("run1", "/lp")


def test_metrics_of_a_running_report_are_dropped() -> None:
    assert after(a_job(), an_event("running", metrics={"acc": 1})).benchmarks[0].result is None


def test_a_terminal_report_without_anything_still_gives_a_result() -> None:
    result = after(a_job(), an_event("failed")).benchmarks[0].result
    assert result is not None
    assert result.metrics == {}


def test_a_failed_report_with_metrics_is_scored() -> None:
    planned = PlannedBenchmark(
        id="bench-0", provider_id="provider-a", primary_score=PrimaryScore(metric="acc"), threshold=0.5
    )
    job = after(a_job(plan=JobPlan(benchmarks=(planned,))), an_event("failed", metrics={"acc": 0.6}))
    result = job.benchmarks[0].result
    assert result is not None
    assert result.test is not None
    assert result.test.passed
    assert job.progress.test is None


def test_duplicates_of_one_benchmark_are_distinguished_and_scored_by_index() -> None:
    planned = tuple(
        PlannedBenchmark(
            id="same", provider_id="p", primary_score=PrimaryScore(metric=metric), threshold=threshold
        )
        for metric, threshold in (("acc", 0.5), ("f1", 0.9))
    )
    job = a_job(size=2, plan=JobPlan(benchmarks=planned))
    for index in (1, 0):
        event = an_event("completed", index, provider_id="p", id="same", metrics={"acc": 0.6, "f1": 0.7})
        job = apply_event(job, event, NOON)
    tests = [b.result.test if b.result else None for b in job.benchmarks]
    assert [(t.primary_score, t.threshold, t.passed) for t in tests if t] == [
        (0.6, 0.5, True),
        (0.7, 0.9, False),
    ]
    assert job.progress.test is not None
    assert job.progress.test.score == pytest.approx(0.65)


def test_other_benchmarks_stay_the_same_objects() -> None:
    job = a_job(size=3)
    changed = after(job, an_event("running", 1))
    assert changed.benchmarks[0] is job.benchmarks[0]
    assert changed.benchmarks[2] is job.benchmarks[2]
    assert changed.request is job.request
    assert changed.plan is job.plan


# --- repeats and regressions ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "event",
    [
        an_event("pending"),
        an_event("pending", phase="initializing"),
        an_event("running"),
        an_event("running", phase="loading_data", warning_message=BOOM),
        an_event(
            "completed", metrics={"a": 1}, metrics_schema=(EventMetricSchema(name="a", type="numeric"),)
        ),
        an_event("failed", error_message=BOOM),
    ],
)
@pytest.mark.parametrize("size", [1, 2])
def test_an_identical_repeat_changes_nothing(event: BenchmarkEvent, size: int) -> None:
    job = apply_event(a_job(size=size), event, NOON)
    assert apply_event(job, event, LATER) is job


def test_a_closing_report_may_repeat_less_than_is_known() -> None:
    job = after(a_job(), an_event("running", phase="loading_data"), an_event("completed", metrics={"a": 1}))
    assert apply_event(job, an_event("completed"), LATER) is job


@pytest.mark.parametrize(
    ("first", "second"),
    [("running", "pending"), ("completed", "running"), ("completed", "pending"), ("failed", "running")],
)
def test_a_regression_is_ignored_while_the_job_is_open(first: str, second: str) -> None:
    job = after(a_job(size=2), an_event(first))
    assert apply_event(job, an_event(second, phase="post_processing"), LATER) is job


# --- refusals -------------------------------------------------------------------------------------------------


def refusal(job: JobRecord, event: BenchmarkEvent) -> ApiError:
    with pytest.raises(ApiError) as caught:
        apply_event(job, event, LATER)
    return caught.value


@pytest.mark.parametrize(
    "event",
    [
        an_event("running", 0, id="bench-1"),
        an_event("running", 0, id="nope"),
        an_event("running", 0, provider_id="nope"),
        an_event("running", 2),
        an_event("running", -1, id="bench-1"),
        an_event("running", 10**30),
    ],
)
def test_a_benchmark_that_the_job_does_not_have_is_not_found(event: BenchmarkEvent) -> None:
    error = refusal(a_job(size=2), event)
    assert (error.status, error.code) == (404, "resource_not_found")
    assert error.message == f"The benchmark resource '{event.id}' was not found."


def test_on_a_closed_job_an_unknown_benchmark_is_a_conflict() -> None:
    job = after(a_job(), an_event("completed"))
    error = refusal(job, an_event("running", 5))
    assert error.status == 409
    assert error.message == f"The job {job.id} can not be running because it is 'completed'."


@pytest.mark.parametrize(
    ("closing", "late"),
    [
        (an_event("completed", metrics={"a": 1}), an_event("completed", metrics={"a": 2})),
        (an_event("completed"), an_event("failed", error_message=BOOM)),
        (an_event("failed"), an_event("completed")),
        (
            an_event("failed", error_message=BOOM),
            an_event("failed", error_message=replace(BOOM, message="x")),
        ),
        (an_event("completed"), an_event("running")),
        (an_event("completed"), an_event("pending")),
    ],
)
def test_a_closed_job_refuses_what_is_new(closing: BenchmarkEvent, late: BenchmarkEvent) -> None:
    job = after(a_job(), closing)
    error = refusal(job, late)
    assert (error.status, error.code) == (409, "job_can_not_be_updated")
    assert error.message == f"The job {job.id} can not be running because it is '{closing.status}'."


def test_a_closed_benchmark_of_an_open_job_refuses_another_result() -> None:
    job = after(a_job(size=2), an_event("completed", metrics={"a": 1}))
    error = refusal(job, an_event("failed", error_message=BOOM))
    assert (error.status, error.code) == (409, "job_can_not_be_updated")
    assert f"The job {job.id} can not be running because its benchmark 'bench-0' at index 0" in error.message


# --- exits and deadlines --------------------------------------------------------------------------------------


def test_an_exit_without_a_report_fails_the_benchmark_provisionally() -> None:
    job = exited(launch_intended(a_job(), 0, NOON, runtime="local"), 0, Exit(code=3), "Traceback: x", LATER)
    benchmark = job.benchmarks[0]
    assert job.state is benchmark.state is State.FAILED
    assert benchmark.provisional
    assert benchmark.error is not None
    assert benchmark.error.message_code == "adapter_failed"
    assert "Traceback: x" in job.progress.message.message
    assert benchmark.completed_at == "2026-05-01T12:05:00Z"
    assert benchmark.result is not None
    assert not job.open


def test_an_exit_after_a_report_is_only_noted() -> None:
    job = after(launch_intended(a_job(), 0, NOON, runtime="local"), an_event("completed"))
    assert job.open
    ended = exited(job, 0, Exit(code=1), "", LATER)
    assert ended.benchmarks[0] == replace(job.benchmarks[0], exit=Exit(code=1))
    assert (ended.state, ended.progress.updated_at) == (job.state, job.progress.updated_at)
    assert not ended.open
    assert exited(ended, 0, Exit(code=2), "", LATER) is ended


def test_a_late_real_result_replaces_a_provisional_failure() -> None:
    job = a_provisionally_failed_job()
    late = apply_event(job, an_event("completed", metrics={"a": 1}), LATER)
    benchmark = late.benchmarks[0]
    assert late.state is benchmark.state is State.COMPLETED
    assert benchmark.error is None
    assert not benchmark.provisional
    assert benchmark.completed_at == "2026-05-01T12:05:00Z"
    assert benchmark.exit == Exit(code=1)
    assert late.progress.message.message == "Evaluation job is completed"
    assert apply_event(late, an_event("completed", metrics={"a": 1}), LATER) is late


def test_a_late_real_failure_replaces_a_provisional_one_for_good() -> None:
    job = apply_event(a_provisionally_failed_job(), an_event("failed", error_message=BOOM), LATER)
    assert job.progress.message.message.endswith("Benchmark bench-0 failed with message: boom\n")
    assert refusal(job, an_event("completed")).status == 409


@pytest.mark.parametrize("status", ["pending", "running"])
def test_a_provisional_failure_is_not_replaced_by_progress(status: str) -> None:
    open_job = a_provisionally_failed_job(size=2)
    assert apply_event(open_job, an_event(status), LATER) is open_job
    assert refusal(a_provisionally_failed_job(), an_event(status)).status == 409


def test_a_late_result_may_turn_a_partly_failed_job_into_a_completed_one() -> None:
    job = after(a_provisionally_failed_job(size=2), an_event("completed", 1))
    assert job.state is State.PARTIALLY_FAILED
    assert apply_event(job, an_event("completed"), LATER).state is State.COMPLETED


def test_a_cancelled_job_keeps_its_provisional_failures() -> None:
    job = cancel(a_provisionally_failed_job(size=2), NOON)
    assert refusal(job, an_event("completed")).status == 409
    assert job.benchmarks[0].state is State.FAILED


@pytest.mark.parametrize("kind", ["start", "run"])
def test_a_deadline_fails_the_benchmark_provisionally(kind: str) -> None:
    job = timed_out(a_job(), 0, kind, 30, "", NOON)
    benchmark = job.benchmarks[0]
    assert benchmark.error is not None
    assert benchmark.error.message_code == "deadline_exceeded"
    assert benchmark.provisional
    assert benchmark.exit == Exit(reason="deadline_exceeded")


def test_a_workload_that_could_not_be_started_fails_for_good() -> None:
    job = launch_failed(a_job(), 0, "no runtime.local.command", NOON)
    benchmark = job.benchmarks[0]
    assert benchmark.error == Message(
        message="no runtime.local.command", message_code="evaluation_job_failed", message_origin="server"
    )
    assert not benchmark.provisional
    assert not benchmark.has_workload
    assert refusal(job, an_event("completed")).status == 409


# --- launches -------------------------------------------------------------------------------------------------


def test_a_launch_is_noted_once() -> None:
    job = launch_intended(a_job(), 0, NOON, runtime="local")
    assert job.benchmarks[0].launched_at == NOON
    assert job.benchmarks[0].has_workload
    assert launch_intended(job, 0, LATER, runtime="local") is job
    found = launched(job, 0, {"pid": 1}, runtime="local")
    assert found.benchmarks[0].handle == {"pid": 1}
    assert launched(found, 0, {"pid": 1}, runtime="local") is found


def test_nothing_is_launched_for_a_benchmark_that_is_over() -> None:
    job = cancel(a_job(), NOON)
    assert launch_intended(job, 0, LATER, runtime="local") is job


def test_a_handle_is_kept_even_if_the_benchmark_was_over_first() -> None:
    job = after(launch_intended(a_job(), 0, NOON, runtime="local"), an_event("completed"))
    assert launched(job, 0, {"pid": 1}, runtime="local").benchmarks[0].handle == {"pid": 1}


# --- cancellation ---------------------------------------------------------------------------------------------


def test_cancelling_ends_what_has_not_ended_and_keeps_the_rest() -> None:
    warning = Message(message="w", message_code="c", message_origin="runtime")
    job = after(
        a_job(size=3),
        an_event("completed", 0, metrics={"a": 1}),
        an_event(
            "running", 1, phase="loading_data", started_at="2026-01-12T10:45:32Z", warning_message=warning
        ),
    )
    cancelled = cancel(job, LATER)
    assert cancelled.state is State.CANCELLED
    assert cancelled.progress.message.message == "Evaluation job cancelled"
    assert cancelled.progress.message.message_code == "evaluation_job_cancelled"
    assert cancelled.benchmarks[0] is job.benchmarks[0]
    for benchmark in cancelled.benchmarks[1:]:
        assert (benchmark.state, benchmark.error) == (State.CANCELLED, CANCELLED)
        assert benchmark.result is None
    running = cancelled.benchmarks[1]
    assert (running.phase, running.started_at, running.warning) == (
        "loading_data",
        "2026-01-12T10:45:32Z",
        warning,
    )
    assert cancelled.progress.test is None
    assert cancelled.progress.updated_at == LATER


def test_cancelling_twice_is_cancelling_once() -> None:
    job = cancel(a_job(), NOON)
    assert cancel(job, LATER) is job


@pytest.mark.parametrize(
    ("statuses", "state"),
    [
        (("completed", "completed"), "completed"),
        (("failed", "failed"), "failed"),
        (("completed", "failed"), "partially_failed"),
    ],
)
def test_a_job_that_has_ended_can_not_be_cancelled(statuses: tuple[str, str], state: str) -> None:
    job = after(a_job(size=2), *(an_event(status, index) for index, status in enumerate(statuses)))
    with pytest.raises(ApiError) as caught:
        cancel(job, LATER)
    assert (caught.value.status, caught.value.code) == (409, "job_can_not_be_updated")
    assert caught.value.message == f"The job {job.id} can not be cancelled because it is '{state}'."


@pytest.mark.parametrize("status", ["pending", "running", "completed", "failed"])
def test_a_cancelled_job_refuses_reports(status: str) -> None:
    job = cancel(a_job(), NOON)
    error = refusal(job, an_event(status))
    assert error.message == f"The job {job.id} can not be running because it is 'cancelled'."


def test_a_cancelled_job_accepts_the_repeat_of_an_earlier_result() -> None:
    event = an_event("completed", metrics={"a": 1})
    job = cancel(after(a_job(size=2), event), NOON)
    assert apply_event(job, event, LATER) is job


def test_a_cancelled_job_is_watched_until_its_workload_has_ended() -> None:
    job = cancel(launch_intended(a_job(), 0, NOON, runtime="local"), NOON)
    assert job.open
    ended = exited(job, 0, Exit(signal="SIGTERM"), "", LATER)
    assert not ended.open
    assert ended.benchmarks[0].error == CANCELLED


# --- resolved SHA ---------------------------------------------------------------------------------------------

GIT = TestDataRef(git=GitRef(url="https://h.com/x", ref="main"))
SHA = "abcdef1"


def sha_event(sha: str, status: str = "running", index: int = 0) -> BenchmarkEvent:
    return an_event(status, index, job_meta=JobMeta(resolved_sha=sha))


def a_job_with_test_data(ref: TestDataRef | None = GIT, collection: CollectionRef | None = None) -> JobRecord:
    """Two benchmarks, the second with test data."""
    job = a_job(size=2)
    first, second = job.plan.benchmarks
    own = job.request.benchmarks
    request = replace(
        job.request,
        collection=collection,
        benchmarks=() if collection else (own[0], replace(own[1], test_data_ref=ref)),
    )
    planned = (replace(first, weight=4.0), replace(second, test_data_ref=ref))
    return with_changes(job, request=request, plan=JobPlan(benchmarks=planned))


@pytest.mark.parametrize("sha", [SHA, "0" * 40, "ABCDEF1"])
def test_a_reported_sha_is_written_beside_the_test_data(sha: str) -> None:
    job = after(a_job_with_test_data(), sha_event(sha, index=1))
    resolved = replace(GIT, resolved_sha=sha)
    request = resolved_request(job)
    assert job.benchmarks[1].resolved_sha == sha
    assert request.benchmarks[1].test_data_ref == resolved
    assert request.benchmarks[0].test_data_ref is None
    assert job.benchmarks[1].state is State.RUNNING


@pytest.mark.parametrize("sha", ["", "abcdef", "0" * 41, "ghijklm", f"{SHA}\n", f" {SHA}"])
def test_what_is_no_sha_is_ignored(sha: str) -> None:
    job = a_job_with_test_data()
    changed = after(job, sha_event(sha, index=1))
    assert resolved_request(changed) is job.request
    assert changed.benchmarks[1].state is State.RUNNING


def test_the_first_sha_stays() -> None:
    job = after(a_job_with_test_data(), sha_event(SHA, index=1), sha_event("1234567", "completed", index=1))
    ref = resolved_request(job).benchmarks[1].test_data_ref
    assert ref is not None
    assert ref.resolved_sha == SHA


def test_a_sha_without_test_data_is_ignored() -> None:
    job = a_job_with_test_data()
    changed = after(job, sha_event(SHA, index=0))
    assert changed.benchmarks[0].resolved_sha == ""
    assert resolved_request(changed) is job.request


def test_a_sha_on_an_otherwise_repeated_report_is_a_change() -> None:
    job = after(a_job_with_test_data(), an_event("running", 1))
    changed = apply_event(job, sha_event(SHA, index=1), LATER)
    assert changed.progress.updated_at == LATER
    assert changed.benchmarks[1] == replace(job.benchmarks[1], resolved_sha=SHA)
    assert changed.definition is job.definition
    assert apply_event(changed, sha_event(SHA, index=1), LATER + timedelta(minutes=1)) is changed


def test_in_a_collection_job_the_whole_list_is_then_written_into_the_reference() -> None:
    collection = CollectionRef(id="c", benchmarks=(BenchmarkRef(id="bench-0", provider_id="provider-a"),))
    job = after(a_job_with_test_data(collection=collection), sha_event(SHA, index=1))
    request = resolved_request(job)
    assert request.benchmarks == ()
    assert request.collection is not None
    assert request.collection.benchmarks == (
        BenchmarkRef(id="bench-0", provider_id="provider-a", weight=4.0),
        BenchmarkRef(id="bench-1", provider_id="provider-a", test_data_ref=replace(GIT, resolved_sha=SHA)),
    )


# --- ids as labels, notices -----------------------------------------------------------------------------------


def a_job_of(provider_id: str, *benchmark_ids: str) -> JobRecord:
    planned = tuple(PlannedBenchmark(id=name, provider_id=provider_id) for name in benchmark_ids)
    return a_job(size=len(planned), plan=JobPlan(benchmarks=planned))


@pytest.mark.parametrize(
    ("provider_id", "benchmark_id"),
    [("lm_eval", "mmlu_pro"), ("LM_Eval", "mmlu_pro"), ("lm_eval", "MMLU_Pro")],
)
def test_an_event_may_name_the_benchmark_as_labels_do(provider_id: str, benchmark_id: str) -> None:
    job = a_job_of("LM_Eval", "MMLU_Pro")
    event = BenchmarkEvent(provider_id=provider_id, id=benchmark_id, status="failed", error_message=BOOM)
    failed = apply_event(job, event, NOON).benchmarks[0]
    assert failed.state is State.FAILED
    assert failed.error is not None
    assert failed.error.message == "boom"


def test_an_event_without_an_index_means_the_first_benchmark() -> None:
    job = a_job_of("p", "same", "same")
    running = apply_event(job, BenchmarkEvent(provider_id="p", id="same", status="running"), NOON)
    assert [b.state for b in running.benchmarks] == [State.RUNNING, State.PENDING]


@pytest.mark.parametrize("benchmark_id", ["MMLU-PRO", "mmlu-pro", "mmlu_pr", "other"])
def test_an_event_with_another_id_is_refused(benchmark_id: str) -> None:
    job = a_job_of("p", "MMLU_Pro", "mmlu-pro")
    with pytest.raises(ApiError) as refused:
        apply_event(job, BenchmarkEvent(provider_id="p", id=benchmark_id, status="running"), NOON)
    assert refused.value.status == 404


WAITS = Message(message="waits", message_code="suspended", message_origin="server")


def test_a_notice_is_shown_until_it_is_taken_back() -> None:
    job = noticed(a_job(), 0, WAITS, LATER)
    assert job.benchmarks[0].warning == WAITS
    assert job.progress.updated_at == LATER
    assert noticed(job, 0, WAITS, LATER) is job
    assert noticed(job, 0, None, LATER).benchmarks[0].warning is None


def test_a_notice_does_not_hide_what_the_adapter_warns_of() -> None:
    job = after(a_job(), an_event("running", warning_message=BOOM))
    assert noticed(job, 0, WAITS, LATER) is job
    assert noticed(job, 0, None, LATER) is job


def test_nothing_is_noticed_of_a_benchmark_that_is_over() -> None:
    job = after(a_job(), an_event("completed"))
    assert noticed(job, 0, WAITS, LATER) is job


def test_a_notice_goes_with_the_result_and_stays_with_a_failure() -> None:
    job = noticed(a_job(), 0, WAITS, NOON)
    completed = after(job, an_event("completed"))
    assert completed.benchmarks[0].warning is None
    assert after(completed, an_event("completed")) is completed
    assert after(job, an_event("failed", error_message=BOOM)).benchmarks[0].warning == WAITS


# --- completed without the promised metric ---------------------------------------------------------------------


def a_scored_job() -> JobRecord:
    planned = PlannedBenchmark(
        id="bench-0", provider_id="provider-a", primary_score=PrimaryScore(metric="acc"), threshold=0.5
    )
    return with_changes(a_job(), plan=JobPlan(benchmarks=(planned,)))


def test_a_completed_benchmark_without_its_primary_metric_carries_a_warning() -> None:
    event = an_event("completed", metrics={"acc_norm": 0.9})
    job = after(a_scored_job(), event)
    warning = job.benchmarks[0].warning
    assert warning is not None
    assert warning.message_code == "primary_metric_missing"
    assert warning.message_origin == "server"
    assert (
        "the result has no 'acc', so there is no score and no verdict. It has 'acc_norm'." in warning.message
    )
    assert job.progress.test is None
    assert after(job, event) is job


def test_an_adapters_own_warning_stays_beside_that_about_the_missing_metric() -> None:
    own = Message(message="Ten samples skipped.", message_code="skipped")
    first = after(a_scored_job(), an_event("running", warning_message=own))
    event = an_event("completed")
    job = after(first, event)
    warning = job.benchmarks[0].warning
    assert warning is not None
    assert (warning.message_code, warning.message_origin) == ("skipped", "runtime")
    assert warning.message.startswith("Ten samples skipped. Completed, but the result has no 'acc', ")
    assert after(job, event, an_event("completed", warning_message=own)) is job


@pytest.mark.parametrize("status", ["running", "failed"])
def test_only_a_completed_benchmark_is_warned_about_a_missing_metric(status: str) -> None:
    assert after(a_scored_job(), an_event(status, metrics={"loss": 1})).benchmarks[0].warning is None


def a_job_with_aliases(**aliases: str) -> JobRecord:
    properties = tuple(MetricProperties(metric=name, alias_of=other) for name, other in aliases.items())
    planned = replace(a_scored_job().plan.benchmarks[0], metric_properties=properties)
    return with_changes(a_job(), plan=JobPlan(benchmarks=(planned,)))


def test_a_metric_that_the_provider_lists_under_another_name_is_scored() -> None:
    event = an_event("completed", metrics={"all.em": 0.75, "all.em_stderr": 0.1, "acc_norm": 0.5})
    reported = event.metrics
    job = after(a_job_with_aliases(acc="em", em="all.em", acc_norm="em", f1="all.f1"), event)
    result = job.benchmarks[0].result
    assert result is not None
    assert result.metrics == reported | {"acc": 0.75, "acc_stderr": 0.1, "em": 0.75, "em_stderr": 0.1}
    assert result.test is not None
    assert (result.test.primary_score_metric, result.test.primary_score, result.test.passed) == (
        "acc",
        0.75,
        True,
    )
    assert job.benchmarks[0].warning is None
    assert after(job, event) is job


def test_running_metrics_have_the_names_that_the_provider_lists() -> None:
    job = after(a_job_with_aliases(acc="em"), an_event("running", metrics={"em": 0.5}))
    assert job.benchmarks[0].running_metrics == {"em": 0.5, "acc": 0.5}


def test_names_that_stand_for_each_other_add_nothing() -> None:
    event = an_event("completed", metrics={"f1": 1})
    result = after(a_job_with_aliases(acc="em", em="acc"), event).benchmarks[0].result
    assert result is not None
    assert result.metrics == {"f1": 1}


# --- refused events --------------------------------------------------------------------------------------------

NAN = RefusedEvent(reason="metrics.acc is NaN", status="completed")
REFUSED = "reported a result that was refused: metrics.acc is NaN"


def test_a_refused_event_is_remembered_until_the_benchmark_fails() -> None:
    job = event_refused(a_job(size=2), 0, NAN)
    assert job.benchmarks[0].refused == NAN
    assert event_refused(job, 0, NAN) is job
    for failed in (
        exited(job, 0, Exit(code=0), "", NOON),
        timed_out(job, 0, "run", 5, "", NOON),
        after(job, an_event("failed", error_message=BOOM)),
    ):
        error = failed.benchmarks[0].error
        assert error is not None
        assert REFUSED in error.message
        assert event_refused(failed, 0, RefusedEvent(reason="other")) is failed


def test_a_failure_that_is_reported_after_a_refused_result_can_be_repeated() -> None:
    event = an_event("failed", error_message=BOOM)
    job = after(event_refused(a_job(), 0, NAN), event)
    assert job.benchmarks[0].error == Message(
        message=f"boom (The adapter {REFUSED})", message_code="bc", message_origin="runtime"
    )
    assert after(job, event, an_event("failed")) is job


def test_a_result_after_a_refused_one_counts() -> None:
    job = after(event_refused(a_job(), 0, NAN), an_event("completed", metrics={"acc": 1}))
    assert (job.state, job.benchmarks[0].error) == (State.COMPLETED, None)


# --- control sequences -----------------------------------------------------------------------------------------


def test_messages_of_adapters_have_no_control_sequences() -> None:
    hostile = Message(
        message="\x1b]0;title\x07\x1b[31mred\x1b[0m\x00 \u202eabc",
        message_code="c\x1b[2J",
        message_origin="a\x07",
    )
    clean = Message(message="red abc", message_code="c", message_origin="a")
    event = an_event("failed", error_message=hostile, warning_message=hostile)
    job = after(a_job(), event)
    assert (job.benchmarks[0].error, job.benchmarks[0].warning) == (clean, clean)
    assert "\x1b" not in job.progress.message.message
    assert after(job, event) is job


def test_quotations_of_logs_and_texts_of_runtimes_have_no_control_sequences() -> None:
    hostile = "\x1b[2J\x1b]0;title\x07before\x00\u202e\n10%\r\x1b[32m100%\x1b[0m\n"
    for job in (
        exited(a_job(), 0, Exit(code=1), hostile, NOON),
        timed_out(a_job(), 0, "run", 5, hostile, NOON),
    ):
        error = job.benchmarks[0].error
        assert error is not None
        assert error.message.endswith("Last log lines:\nbefore\n100%")
    exit_ = Exit(code=1, message="10%\rgone\x1b[31m", hint="Look\x07.")
    error = exited(a_job(), 0, exit_, "", NOON).benchmarks[0].error
    assert error is not None
    assert error.message == "gone. Look. The log is empty."
    error = launch_failed(a_job(), 0, "no \x1b[1msuch\x1b[0m file", NOON).benchmarks[0].error
    assert error is not None
    assert error.message == "no such file"
    notice = Message(message="waiting\x1b[5m", message_code="w", message_origin="server")
    job = noticed(a_job(), 0, notice, NOON)
    assert job.benchmarks[0].warning == replace(notice, message="waiting")
    assert noticed(job, 0, notice, NOON) is job
