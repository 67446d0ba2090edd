"""Benchmarks whose node is unreachable or gone."""

from __future__ import annotations

import asyncio

import pytest

from evalhub_runtime_k8s.settings import Hardening
from evalhub_server.plugins.sections import Timespan
from harness.kube import FakeCluster, Fault
from harness.kube.controller import over
from harness.kube.kinds import PODS
from harness.kube.rights import WITH_CLUSTER
from harness.kube.runtime import OFTEN, a_run, log_of, notice_of, opened, soon, until

pytestmark = pytest.mark.usefixtures("kubeconfig")

RESTART = Hardening(restart_disrupted=True)


@pytest.mark.parametrize("hardening", [Hardening(), RESTART])
async def test_an_unreachable_node_ends_a_benchmark(cluster: FakeCluster, hardening: Hardening):
    """The Job never fails: its pod is not reported as ended, and with a replacement policy not replaced either."""
    async with opened(node_lost_timeout=OFTEN, hardening=hardening) as runtime:
        handle = await runtime.launch(a_run("runs"))
        await until(cluster.running, "it runs")
        cluster.lose_node()
        exit_ = await soon(runtime.wait(handle))
        conditions = cluster.jobs()[0]["status"].get("conditions", [])
        assert [c["type"] for c in conditions] == ([] if hardening is RESTART else ["FailureTarget"])
        assert (exit_.reason, exit_.lost) == ("node_lost", True)
        assert "node 'node-1': Taint manager" in exit_.message
        await soon(runtime.stop(handle, 0))
        assert cluster.jobs()[0]["metadata"]["deletionTimestamp"], (
            "it cannot start again when the node is back"
        )


async def test_an_unreachable_node_is_reported_at_once(cluster: FakeCluster):
    async with opened(node_lost_timeout=Timespan(3600)) as runtime:
        handle = await runtime.launch(a_run("runs"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(cluster.running, "it runs")
        cluster.lose_node(grace_s=3600)
        notice = await notice_of(runtime, handle, "node_lost")
        [pod] = cluster.objects(PODS)
        assert f"3600 seconds after {pod['metadata']['deletionTimestamp']}" in notice.message
        assert not waiting.done()
        waiting.cancel()


async def test_a_node_that_was_unreachable_and_is_deleted_was_lost(cluster: FakeCluster):
    async with opened(node_lost_timeout=Timespan(3600)) as runtime:
        handle = await runtime.launch(a_run("runs"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(cluster.running, "it runs")
        cluster.lose_node()
        await notice_of(runtime, handle, "node_lost")
        cluster.delete_node()
        exit_ = await soon(waiting)
    assert (exit_.reason, exit_.lost) == ("node_lost", True)


async def test_a_deleted_node_was_lost_if_nodes_can_be_read(cluster: FakeCluster):
    cluster.grant(WITH_CLUSTER)
    async with opened() as runtime:
        handle = await runtime.launch(a_run("runs"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(cluster.running, "it runs")
        await watched(cluster)
        cluster.delete_node()
        exit_ = await soon(waiting)
    assert (exit_.reason, exit_.lost) == ("node_lost", True)
    assert "'node-1'" in exit_.message


@pytest.mark.parametrize(("ready", "reason"), [("Unknown", "node_lost"), ("True", "pod_lost")])
async def test_a_pod_that_is_gone_was_lost_with_its_node_if_that_is_not_ready(
    cluster: FakeCluster, ready: str, reason: str
):
    cluster.grant(WITH_CLUSTER)
    async with opened() as runtime:
        handle = await runtime.launch(a_run("runs"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(cluster.running, "it runs")
        await watched(cluster)
        cluster.node_is(ready)
        cluster.remove_pod()
        assert (await soon(waiting)).reason == reason


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 403}])
async def test_a_node_that_cannot_be_read_explains_nothing(cluster: FakeCluster, fault: dict):
    cluster.grant(WITH_CLUSTER)
    cluster.inject(Fault("get", "nodes", times=99, **fault))
    async with opened() as runtime:
        handle = await runtime.launch(a_run("runs"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(cluster.running, "it runs")
        await watched(cluster)
        cluster.remove_pod()
        assert (await soon(waiting)).reason == "pod_lost"


async def watched(cluster: FakeCluster) -> None:
    """Return when the running pod has been seen."""
    calls = cluster.called().count("list pods")
    await until(lambda: cluster.called().count("list pods") > calls + 1, "the pod is seen")


async def test_a_deleted_pod_of_a_node_that_works_is_lost_without_the_node(cluster: FakeCluster):
    cluster.grant(WITH_CLUSTER)
    async with opened() as runtime:
        handle = await runtime.launch(a_run("node-lost"))
        exit_ = await soon(runtime.wait(handle))
    assert exit_.reason == "pod_lost"


async def test_a_disrupted_pod_that_ends_is_replaced(cluster: FakeCluster):
    attempts: list[str] = []

    async def preempted_once(pod):
        attempts.append(pod.name)
        pod.runs()
        if len(attempts) == 1:
            pod.preempted()
        else:
            pod.exits(0)

    cluster.script("script.test/preempted-once", preempted_once)
    async with opened(hardening=RESTART) as runtime:
        handle = await runtime.launch(a_run("preempted-once"))
        assert (await soon(runtime.wait(handle))).code == 0
    assert len(attempts) == 2


async def test_the_log_of_an_unreachable_node_does_not_keep_the_stop(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("runs"))
        await until(cluster.running, "it runs")
        cluster.lose_node()
        await soon(runtime.stop(handle, 0))
        with pytest.raises(Exception, match="i/o timeout"):
            await log_of(runtime, handle)


async def test_a_pod_that_ends_after_the_taint_ends_its_job(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("stops"))
        await until(cluster.running, "it runs")
        [pod] = cluster.objects(PODS)
        cluster.delete(pod)
        await until(lambda: over(cluster.jobs()[0]), "the Job has failed")
        assert (await soon(runtime.wait(handle))).reason in ("adapter_killed", "pod_lost")
