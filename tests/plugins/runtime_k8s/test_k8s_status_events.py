"""What the cluster hears of a benchmark's transitions."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from evalhub_runtime_k8s.runtime import KubernetesRuntime
from evalhub_server.domain import transitions
from evalhub_server.domain.record import JobPlan, JobRecord, PlannedBenchmark
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.plugins import JobChanged
from evalhub_server.testing.builders import a_job
from harness.kube import TENANT, FakeCluster, Fault
from harness.kube.kinds import EVENTS, Object
from harness.kube.runtime import a_run, opened, until

pytestmark = pytest.mark.usefixtures("kubeconfig")

NOW = datetime(2026, 5, 1, tzinfo=UTC)
PHASE = "trustyai.opendatahub.io/evaluation-phase"
STATUS = "trustyai.opendatahub.io/evaluation-status"


async def launched(runtime: KubernetesRuntime, threshold: float | None = None) -> JobRecord:
    planned = PlannedBenchmark(
        id="bench-0", provider_id="provider-a", primary_score=PrimaryScore(metric="acc"), threshold=threshold
    )
    job = a_job(tenant=TENANT, plan=JobPlan(benchmarks=(planned,)))
    await runtime.launch(a_run("stops", id=job.id))
    return job


def reported(runtime: KubernetesRuntime, job: JobRecord, status: str, **fields: object) -> JobRecord:
    event = BenchmarkEvent(provider_id="provider-a", id="bench-0", status=status, **fields)
    after = transitions.apply_event(job, event, NOW)
    assert runtime.observe is not None
    runtime.observe(change=JobChanged(before=job, after=after))
    return after


async def seen(cluster: FakeCluster, count: int) -> list[Object]:
    def events() -> list[Object]:
        found = sorted(cluster.objects(EVENTS), key=lambda event: event["metadata"]["name"])
        return found if len(found) >= count else []

    return await until(events, f"{count} events")


async def test_each_transition_is_a_label_an_annotation_and_an_event(cluster: FakeCluster):
    async with opened() as runtime:
        job = await launched(runtime)
        running = reported(runtime, job, "running")
        reported(runtime, running, "completed", metrics={"acc": 1.0})
        events = await seen(cluster, 2)
    assert [(event["reason"], event["type"], event["message"]) for event in events] == [
        ("EvaluationRunning", "Normal", "benchmark 0 phase transition: Running"),
        ("EvaluationCompleted", "Normal", "benchmark 0 phase transition: Completed"),
    ]
    [made] = cluster.jobs()
    assert made["metadata"]["labels"][PHASE] == "Completed"
    status = made["metadata"]["annotations"][STATUS]
    assert status.startswith(
        f'{{"benchmark_index":0,"evaluation_id":"{job.id}","phase":"Completed","timestamp":"20'
    )
    first = events[0]
    assert first["involvedObject"]["uid"] == made["metadata"]["uid"]
    assert first["metadata"]["name"].startswith(f"{made['metadata']['name']}.")
    assert (first["source"], first["reportingComponent"], first["count"]) == (
        {"component": "evalhub-server"},
        "evalhub-server",
        1,
    )
    assert cluster.called("patch", "create")[-4:] == ["patch jobs", "create events"] * 2


async def test_a_score_below_its_threshold_is_a_warning(cluster: FakeCluster):
    async with opened() as runtime:
        job = await launched(runtime, threshold=0.5)
        reported(runtime, job, "completed", metrics={"acc": 0.25})
        events = await seen(cluster, 2)
    assert (events[1]["reason"], events[1]["type"]) == ("EvaluationThresholdViolated", "Warning")
    assert events[1]["message"] == "metric=acc actual=0.25 threshold=0.5"
    assert cluster.jobs()[0]["metadata"]["labels"][PHASE] == "ThresholdViolated"


async def test_a_failure_is_a_warning(cluster: FakeCluster):
    async with opened() as runtime:
        reported(runtime, await launched(runtime), "failed")
        [event] = await seen(cluster, 1)
    assert (event["reason"], event["type"]) == ("EvaluationFailed", "Warning")


def renamed(job: JobRecord) -> JobRecord:
    return replace(
        job, definition=replace(job.definition, request=replace(job.definition.request, name="other"))
    )


@pytest.mark.parametrize("change", [renamed, lambda job: transitions.cancel(job, NOW)])
async def test_a_change_that_is_no_transition_sends_nothing(
    cluster: FakeCluster, change: Callable[[JobRecord], JobRecord]
):
    async with opened() as runtime:
        job = await launched(runtime)
        before = len(cluster.calls)
        assert runtime.observe is not None
        runtime.observe(change=JobChanged(before=job, after=change(job)))
        runtime.observe(change=JobChanged(before=None, after=job))
        runtime.observe(change=JobChanged(before=job, after=None))
    assert len(cluster.calls) == before


async def test_a_cluster_that_does_not_listen_hinders_nothing(cluster: FakeCluster):
    async with opened() as runtime:
        job = await launched(runtime)
        fault = cluster.inject(Fault("patch", "jobs", status=403, reason="Forbidden"))
        running = reported(runtime, job, "running")
        await until(lambda: fault.hits, "the first is refused")
        reported(runtime, running, "failed")
        [event] = await seen(cluster, 1)
    assert event["reason"] == "EvaluationFailed"
