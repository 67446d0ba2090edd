"""Stopping benchmarks and removing evaluations, until nothing is left or nothing can bring it back."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from evalhub_server.plugins import RuntimeRefused, RuntimeUnavailable
from evalhub_server.plugins.sections import Timespan
from harness.kube import TENANT, FakeCluster, Fault
from harness.kube.controller import over
from harness.kube.kinds import JOBS, Object
from harness.kube.rights import OPERATOR, Rights
from harness.kube.runtime import a_run, opened, soon, until

pytestmark = pytest.mark.usefixtures("kubeconfig")


async def test_stopping_deletes_job_and_config_map_as_the_released_server_does(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("stops"))
        await runtime.stop(handle, 5)
    cluster.until_empty()
    deletes = [call for call in cluster.calls if call.verb == "delete"]
    bodies = [(call.resource, call.body) for call in deletes]
    assert bodies[0] == (
        "jobs",
        {"apiVersion": "batch/v1", "kind": "DeleteOptions", "propagationPolicy": "Foreground"},
    )
    assert bodies[1] == ("configmaps", {"apiVersion": "v1", "kind": "DeleteOptions"})


async def test_a_stop_does_not_wait_longer_than_its_grace_for_a_pod_that_takes_its_time(cluster: FakeCluster):
    cluster.pod_grace(3600)
    async with opened() as runtime:
        handle = await runtime.launch(a_run("runs"))
        await until(cluster.running, "it runs")
        await soon(runtime.stop(handle, 0.1))
        [job] = cluster.jobs()
        assert job["metadata"]["deletionTimestamp"], "nothing can take that back"


async def test_what_has_ended_stays_until_its_time_is_over(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("exits:3"))
        await soon(runtime.wait(handle))
        await runtime.stop(handle, 0)
    assert len(cluster.jobs()) == 1
    assert cluster.called("delete") == []


async def test_a_stop_that_the_cluster_does_not_answer_is_to_be_asked_again(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("stops"))
        cluster.outage()
        with pytest.raises(RuntimeUnavailable):
            await runtime.stop(handle, 0)
        cluster.outage(on=False)
        await runtime.stop(handle, 5)
    cluster.until_empty()


async def test_removing_takes_all_benchmarks_and_attempts_of_a_job_and_no_other(cluster: FakeCluster):
    async with opened() as runtime:
        first = a_run("exits:0")
        second = a_run("stops", id=first.spec.id, benchmark_index=1)
        again = a_run("exits:0", id=first.spec.id, attempt=2)
        other = a_run("stops")
        for run in (first, second, again, other):
            await runtime.launch(run)
        await soon(runtime.remove(first.spec.id, TENANT))
        cluster.until_empty(job_id=first.spec.id)
        assert len(cluster.jobs(job_id=other.spec.id)) == 1


async def test_removing_goes_on_until_a_list_is_empty(cluster: FakeCluster):
    """Something that was on its way may still appear after the first list."""
    async with opened() as runtime:
        first = a_run("stops")
        await runtime.launch(first)
        hold = cluster.hold("delete", "jobs", after=True)
        removing = asyncio.create_task(runtime.remove(first.spec.id, TENANT))
        await until(lambda: hold.waiting, "the first Job is deleted")
        cluster.seed(latecomer(first.spec.id))
        hold.release()
        await soon(removing)
    cluster.until_empty(job_id=first.spec.id)


def latecomer(job_id: str) -> Object:
    metadata = {
        "name": "late",
        "namespace": TENANT,
        "labels": {"app": "evalhub", "component": "evaluation-job", "job_id": job_id},
    }
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": {}}


async def test_what_cannot_be_removed_is_named_with_the_command_that_removes_it(cluster: FakeCluster):
    run = a_run("exits:0")
    async with opened() as runtime:
        await runtime.launch(run)
        cluster.grant(without("jobs", "delete"))
        left = await soon(runtime.remove(run.spec.id, TENANT))
        assert left.startswith("Jobs may be left in namespace 'team-a': ")
        assert 'cannot delete resource "jobs"' in left
        assert (
            f"kubectl -n team-a delete jobs -l app=evalhub,component=evaluation-job,job_id={run.spec.id}"
            in left
        )
        assert [name for name in cluster.leftovers() if name.startswith("configmaps")] == []
        cluster.grant(OPERATOR)
        assert await soon(runtime.remove(run.spec.id, TENANT)) == ""
    cluster.until_empty()


def without(resource: str, *verbs: str) -> Rights:
    """The operator's rights without these verbs for a resource."""
    return {key: held - set(verbs) if key[1] == resource else held for key, held in OPERATOR.items()}


@pytest.mark.parametrize(
    ("resource", "verb"),
    [("secrets", "list"), ("secrets", "get"), ("configmaps", "list"), ("configmaps", "get")],
)
async def test_a_kind_that_is_refused_keeps_no_other(cluster: FakeCluster, resource: str, verb: str):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("stops"))
        other = await runtime.launch(a_run("stops"))
        cluster.grant(without(resource, verb))
        await soon(runtime.stop(handle, 5))
        left = await soon(runtime.remove(other["job_id"], TENANT))
    assert cluster.jobs() == []
    assert (f'cannot list resource "{resource}"' in left) == (verb == "list")
    cluster.until_empty()  # what belongs to a Job is collected with it


async def test_a_stop_is_refused_only_if_the_job_is(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("runs"))
        cluster.grant(without("jobs", "delete"))
        with pytest.raises(RuntimeRefused, match="cannot delete"):
            await runtime.stop(handle, 0)
        assert len(cluster.jobs()) == 1


async def test_a_removal_that_takes_long_goes_on_in_the_background(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("evalhub_runtime_k8s.removals.TIMEOUT_S", 0.5)
    async with opened() as runtime:
        run = a_run("exits:0")
        await runtime.launch(run)
        hold = cluster.hold("delete", "jobs")
        left = await soon(runtime.remove(run.spec.id, TENANT))
        assert "still being removed in the background" in left
        hold.release()
        await until(lambda: not cluster.leftovers(), "it is removed")


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 400}, {}])
async def test_the_outcome_of_a_removal_in_the_background_is_logged(
    cluster: FakeCluster, fault: dict, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("evalhub_runtime_k8s.removals.TIMEOUT_S", 0.5)
    events = {503: "Removal failed", 400: "Removal finished", None: "Removal interrupted"}
    event = events[fault.get("status")]
    with capture_logs() as lines:
        async with opened() as runtime:
            run = a_run("stops")
            await runtime.launch(run)
            hold = cluster.hold("delete", "jobs")
            assert "in the background" in await soon(runtime.remove(run.spec.id, TENANT))
            if fault:
                cluster.inject(Fault("list", "configmaps", times=99, **fault))
                hold.release()
                await until(lambda: [line for line in lines if line["event"] == event], "a log line")
    hold.release()
    assert event in [line["event"] for line in lines]


async def test_a_removal_does_not_begin_while_the_cluster_is_unavailable(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("evalhub_runtime_k8s.removals.TIMEOUT_S", 0.5)
    async with opened() as runtime:
        cluster.outage()
        with pytest.raises(RuntimeUnavailable):
            await soon(runtime.remove("some-job", TENANT))


async def test_a_stop_of_a_job_that_has_just_ended_ends_its_wait_at_once(cluster: FakeCluster):
    async with opened(poll_interval=Timespan(3600)) as runtime:
        handle = await runtime.launch(a_run("stops"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(lambda: "list pods" in cluster.called(), "it is watched")
        cluster.miss_deadline(cluster.jobs()[0])
        await soon(runtime.stop(handle, 0))
        assert (await soon(waiting)).reason == "deadline_exceeded"
    assert cluster.called("delete") == []


@pytest.mark.parametrize(("script", "code", "lost"), [("exits:0", 0, False), ("exits:3", None, True)])
async def test_an_ended_job_is_judged_without_the_right_to_read_its_pods(
    cluster: FakeCluster, script: str, code: int | None, lost: bool
):
    cluster.grant(without("pods", "list"))
    async with opened() as runtime:
        handle = await runtime.launch(a_run(script))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(lambda: over(cluster.jobs()[0]), "it has ended")
        await soon(runtime.stop(handle, 0))
        exit_ = await soon(waiting)
        assert (exit_.code, exit_.lost) == (code, lost)
        await soon(runtime.stop(handle, 0))  # without a waiter


async def test_nothing_beyond_the_operators_rights_was_asked_for(cluster: FakeCluster):
    """But for the one try to watch, which a 403 answers."""
    async with opened() as runtime:
        handle = await runtime.launch(a_run("exits:0"))
        await soon(runtime.wait(handle))
        await runtime.remove(handle["job_id"], TENANT)
    asked = {(call.verb, call.resource) for call in cluster.calls}
    allowed = {(verb, resource) for (_, resource), verbs in OPERATOR.items() for verb in verbs}
    assert asked <= allowed | {("watch", "jobs"), ("watch", "pods")}
    assert cluster.objects(JOBS) == []
