"""Stopping benchmarks and removing evaluations, until nothing is left or nothing can bring it back."""

from __future__ import annotations

import asyncio

import pytest

from evalhub_server.plugins import RuntimeUnavailable
from harness.kube import TENANT, FakeCluster, Fault
from harness.kube.kinds import JOBS, Object
from harness.kube.rights import OPERATOR
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


async def test_what_cannot_be_removed_is_an_error(cluster: FakeCluster):
    run = a_run("exits:0")
    async with opened() as runtime:
        await runtime.launch(run)
        cluster.inject(Fault("delete", "jobs", status=403, reason="Forbidden", message="no, you may not"))
        with pytest.raises(RuntimeUnavailable, match="no, you may not"):
            await runtime.remove(run.spec.id, TENANT)
        await soon(runtime.remove(run.spec.id, TENANT))
    cluster.until_empty()


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
