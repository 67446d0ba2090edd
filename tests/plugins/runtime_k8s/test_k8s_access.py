"""Namespaces and rights that disappear while benchmarks run."""

from __future__ import annotations

import asyncio

import pytest

from evalhub_server.plugins import Handle, LaunchError, LogOptions, RuntimeRefused
from evalhub_server.plugins.sections import Timespan
from harness.kube import TENANT, FakeCluster
from harness.kube.kinds import NAMESPACES
from harness.kube.rights import OPERATOR, WITH_CLUSTER
from harness.kube.runtime import a_run, notice_of, opened, soon, until

pytestmark = pytest.mark.usefixtures("kubeconfig")

SOON = Timespan(0.2)
LONG = Timespan(3600)


async def test_a_lost_binding_ends_a_benchmark_after_a_while_and_names_the_right(cluster: FakeCluster):
    async with opened(access_timeout=SOON) as runtime:
        handle = await runtime.launch(a_run("runs"))
        cluster.unbind(TENANT)
        exit_ = await soon(runtime.wait(handle))
    assert (exit_.reason, exit_.lost) == ("rights_lost", True)
    assert 'cannot list resource "jobs"' in exit_.message
    assert f'in the namespace "{TENANT}"' in exit_.message
    assert exit_.hint


async def test_a_binding_that_comes_back_in_time_fails_nothing(cluster: FakeCluster):
    async with opened(access_timeout=LONG) as runtime:
        handle = await runtime.launch(a_run("stops"))
        waiting = asyncio.create_task(runtime.wait(handle))
        cluster.unbind(TENANT)
        notice = await notice_of(runtime, handle, "state_unknown")
        assert "may not list" in notice.message
        assert "fails if that lasts for 3600 seconds" in notice.message
        cluster.unbind(TENANT, unbound=False)
        cluster.miss_deadline(cluster.jobs()[0])
        assert (await soon(waiting)).reason == "deadline_exceeded"


@pytest.mark.parametrize("rights", [OPERATOR, WITH_CLUSTER])
async def test_a_deleted_namespace_is_named_as_the_reason(cluster: FakeCluster, rights: dict):
    """With the operator's rights only the pod shows it, which was being deleted when the rights were lost."""
    cluster.grant(rights)
    cluster.pod_grace(3600)
    async with opened(access_timeout=SOON) as runtime:
        handle = await runtime.launch(a_run("runs"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(cluster.running, "it runs")
        cluster.delete(cluster.jobs()[0], "Foreground")
        await notice_of(runtime, handle, "job_terminating")
        cluster.delete_namespace(TENANT)
        exit_ = await soon(waiting)
    assert (exit_.reason, exit_.lost) == ("namespace_gone", True)


async def test_a_namespace_that_is_gone_is_not_waited_for(cluster: FakeCluster):
    cluster.grant(WITH_CLUSTER)
    async with opened(access_timeout=LONG) as runtime:
        handle = await runtime.launch(a_run("stops"))
        cluster.delete_namespace(TENANT)
        assert (await soon(runtime.wait(handle))).reason == "namespace_gone"
        await soon(runtime.stop(handle, 0))
        assert await soon(runtime.remove(handle["job_id"], TENANT)) == ""


async def test_a_job_that_disappeared_with_its_namespace_says_so(cluster: FakeCluster):
    """The rights may be bound in the whole cluster."""
    cluster.grant(WITH_CLUSTER)
    async with opened() as runtime:
        handle = await runtime.launch(a_run("stops"))
        cluster.delete_namespace(TENANT)
        cluster.unbind(TENANT, unbound=False)
        assert (await soon(runtime.wait(handle))).reason == "namespace_gone"


async def stopped(cluster: FakeCluster) -> Handle:
    async with opened(access_timeout=LONG) as runtime:
        handle = await runtime.launch(a_run("runs"))
        cluster.unbind(TENANT)
        with pytest.raises(
            RuntimeRefused, match=r"may still run, and its deletion is refused: .*cannot get"
        ) as refused:
            await runtime.stop(handle, 0)
    assert (refused.value.reason, refused.value.retry_for_s) == ("rights_lost", 3600)
    return handle


async def test_a_stop_without_rights_is_refused_and_can_be_repeated(cluster: FakeCluster):
    handle = await stopped(cluster)
    cluster.unbind(TENANT, unbound=False)
    async with opened() as runtime:
        await soon(runtime.stop(handle, 5))
    cluster.until_empty()


async def test_a_launch_that_may_not_be_looked_up_is_refused(cluster: FakeCluster):
    run = a_run("runs")
    async with opened(access_timeout=LONG) as runtime:
        cluster.unbind(TENANT)
        with pytest.raises(RuntimeRefused, match="cannot get"):
            await runtime.find(run)


async def test_a_log_that_may_not_be_read_is_refused(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("exits:0"))
        await soon(runtime.wait(handle))
        rights = {key: verbs for key, verbs in OPERATOR.items() if key != ("", "pods/log")}
        cluster.grant(rights)
        with pytest.raises(RuntimeRefused, match="pods/log"):
            [chunk async for chunk in runtime.logs(handle, LogOptions())]
        cluster.unbind(TENANT)
        with pytest.raises(RuntimeRefused, match="cannot list"):
            [chunk async for chunk in runtime.logs(handle, LogOptions())]


# --- launches ---------------------------------------------------------------------------------------------------


async def refused_launch(cluster: FakeCluster, tenant: str) -> str:
    async with opened() as runtime:
        with pytest.raises(LaunchError) as refused:
            await runtime.launch(a_run("runs", tenant=tenant))
    assert cluster.leftovers() == []
    return str(refused.value)


async def test_a_launch_in_an_unknown_namespace_says_so(cluster: FakeCluster):
    text = await refused_launch(cluster, "no-such-namespace")
    assert "the namespace 'no-such-namespace' does not exist" in text
    assert "deploy/tenant" in text


async def test_a_launch_without_rights_names_the_binding_that_is_missing(cluster: FakeCluster):
    cluster.unbind("no-such-namespace")
    text = await refused_launch(cluster, "no-such-namespace")
    assert 'cannot create resource "configmaps"' in text
    assert "no RoleBinding in it gives the server its role" in text


async def test_a_launch_in_a_namespace_that_is_being_deleted_says_so(cluster: FakeCluster):
    blocker = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": TENANT, "finalizers": ["example.org/held"]},
    }
    cluster.seed(blocker)
    cluster.delete_namespace(TENANT)
    cluster.unbind(TENANT, unbound=False)
    assert cluster.objects(NAMESPACES)
    assert "the namespace 'team-a' is being deleted" in await refused_launch(cluster, TENANT)
