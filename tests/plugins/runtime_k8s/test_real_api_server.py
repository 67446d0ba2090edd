"""The runtime against a genuine API server, under the operator's rights and Pod Security ``restricted``.

Runs when ``KUBE_APISERVER_BIN`` and ``ETCD_BIN`` name the programs (and ``KUBE_CONTROLLER_MANAGER_BIN``, for what needs
pods and the garbage collector), or ``EVALHUB_TEST_KUBECONFIG`` a cluster; see :mod:`harness.kube.real`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from evalhub_runtime_k8s.runtime import KubernetesRuntime
from evalhub_server.errors import LaunchError
from evalhub_server.plugins import BenchmarkRun, Handle, RuntimeRefused
from evalhub_server.plugins.sections import Timespan
from harness.kube import real
from harness.kube.cluster import TENANT
from harness.kube.runtime import a_run, exit_of, opened, soon, until

pytestmark = pytest.mark.skipif(
    not real.available(),
    reason="no genuine API server: neither KUBE_APISERVER_BIN and ETCD_BIN nor EVALHUB_TEST_KUBECONFIG is set",
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[real.RealCluster]:
    folder = tmp_path_factory.mktemp("real")
    with real.real_cluster(folder) as running:
        yield running


@pytest.fixture(autouse=True)
def kubeconfig(cluster: real.RealCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(cluster.server))


@pytest.fixture
def controllers(cluster: real.RealCluster) -> None:
    if not cluster.has_controllers:
        pytest.skip("no KUBE_CONTROLLER_MANAGER_BIN, or a cluster that has kubelets of its own")


async def pod_of(cluster: real.RealCluster, run: BenchmarkRun) -> Any:
    return (await until(lambda: cluster.pods(job_id=run.spec.id), "there is a pod"))[0]


async def test_objects_are_accepted_and_owned(cluster: real.RealCluster):
    run = a_run("any")
    async with opened() as runtime:
        handle = await soon(runtime.launch(run))
        assert await soon(runtime.launch(run)) == handle
    [job] = cluster.jobs(job_id=run.spec.id)
    [config_map] = cluster.items(f"/api/v1/namespaces/{TENANT}/configmaps", job_id=run.spec.id)
    assert [owner["uid"] for owner in config_map["metadata"]["ownerReferences"]] == [job["metadata"]["uid"]]


async def test_what_is_invalid_is_refused_and_leaves_nothing(cluster: real.RealCluster):
    run = a_run("any", env={"NOT A NAME\n": "x"})
    async with opened() as runtime:
        with pytest.raises(LaunchError):
            await soon(runtime.launch(run))
    assert cluster.leftovers(job_id=run.spec.id) == []


@pytest.mark.usefixtures("controllers")
async def test_a_cancelled_launch_leaves_nothing(cluster: real.RealCluster):
    runs = [a_run("any") for _ in range(8)]
    async with opened() as runtime:
        for number, run in enumerate(runs):
            launch = asyncio.create_task(runtime.launch(run))
            await asyncio.sleep(0.004 * number)  # wherever that happens to be
            launch.cancel()
            handle = await soon(runtime.find(run))
            if handle is not None:
                await soon(runtime.stop(handle, 10))
    for run in runs:
        await until(lambda run=run: not cluster.leftovers(job_id=run.spec.id), "nothing is left")


@pytest.mark.usefixtures("controllers")
async def test_a_pod_is_admitted_and_its_exit_code_reported(cluster: real.RealCluster):
    run = a_run("any")
    async with opened() as runtime:
        waiting = asyncio.create_task(exit_of(runtime, run))
        pod = await pod_of(cluster, run)
        cluster.pod_ends(pod, 3, "no such task")
        exit_ = await soon(waiting, 60)
    assert (exit_.code, exit_.message) == (3, "no such task")


@pytest.mark.usefixtures("controllers")
async def test_a_completed_job_ended_with_zero(cluster: real.RealCluster):
    run = a_run("any")
    async with opened() as runtime:
        waiting = asyncio.create_task(exit_of(runtime, run))
        cluster.pod_ends(await pod_of(cluster, run), 0)
        assert (await soon(waiting, 60)).code == 0


@pytest.mark.usefixtures("controllers")
async def test_a_deleted_job_has_disappeared(cluster: real.RealCluster):
    run = a_run("any")
    async with opened() as runtime:
        handle = await soon(runtime.launch(run))
        waiting = asyncio.create_task(runtime.wait(handle))
        await pod_of(cluster, run)
        path = f"/apis/batch/v1/namespaces/{TENANT}/jobs/{handle['job']}?propagationPolicy=Background"
        cluster.call("DELETE", path)
        assert (await soon(waiting, 60)).reason == "job_disappeared"


@pytest.mark.usefixtures("controllers")
async def test_stopping_and_removing_leave_nothing(cluster: real.RealCluster):
    first, second = a_run("any"), a_run("any")
    async with opened() as runtime:
        handle = await soon(runtime.launch(first))
        await soon(runtime.launch(second))
        await pod_of(cluster, first)
        await soon(runtime.stop(handle, 10))
        await soon(runtime.remove(second.spec.id, TENANT))
    for run in (first, second):
        assert cluster.leftovers(job_id=run.spec.id) == []


# --- namespaces, rights and nodes that are lost -----------------------------------------------------------------


async def launched(runtime: KubernetesRuntime, run: BenchmarkRun) -> Handle:
    """Launch as soon as the API server knows the new rights."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await runtime.launch(run)
            except LaunchError:
                await asyncio.sleep(0.2)


@pytest.mark.usefixtures("controllers")
async def test_a_deleted_binding_ends_a_benchmark(cluster: real.RealCluster):
    cluster.make_namespace("unbound")
    cluster.give_rights("unbound")
    async with opened(access_timeout=Timespan(1)) as runtime:
        handle = await launched(runtime, a_run("any", tenant="unbound"))
        cluster.take_rights("unbound")
        exit_ = await soon(runtime.wait(handle), 60)
        assert (exit_.reason, exit_.lost) == ("rights_lost", True)
        assert 'cannot list resource "jobs"' in exit_.message
        with pytest.raises(RuntimeRefused, match="may still run"):
            await runtime.stop(handle, 0)
        assert "kubectl -n unbound delete" in await runtime.remove(handle["job_id"], "unbound")


@pytest.mark.usefixtures("controllers")
async def test_a_deleted_namespace_ends_a_benchmark(cluster: real.RealCluster):
    """What the server sees of it depends on the order in which objects and rights are deleted."""
    cluster.make_namespace("deleted")
    cluster.give_rights("deleted")
    async with opened(access_timeout=Timespan(1)) as runtime:
        handle = await launched(runtime, a_run("any", tenant="deleted"))
        cluster.delete_namespace("deleted")
        exit_ = await soon(runtime.wait(handle), 60)
    assert exit_.lost
    assert exit_.hint


@pytest.mark.usefixtures("controllers")
async def test_an_unreachable_node_ends_a_benchmark(cluster: real.RealCluster):
    run = a_run("any")
    async with opened(node_lost_timeout=Timespan(1)) as runtime:
        handle = await soon(runtime.launch(run))
        waiting = asyncio.create_task(runtime.wait(handle))
        pod = await pod_of(cluster, run)
        cluster.runs_on(pod, "lost-node")
        cluster.taint(pod)
        exit_ = await soon(waiting, 60)
        assert (exit_.reason, exit_.lost) == ("node_lost", True)
        await soon(runtime.stop(handle, 0))
    cluster.forget_node("lost-node")
    await until(lambda: not cluster.leftovers(job_id=run.spec.id), "the cluster gives the pod up", 120)


async def test_an_unknown_namespace_says_so(cluster: real.RealCluster):
    async with opened() as runtime:
        with pytest.raises(LaunchError, match="the namespace 'nowhere' does not exist"):
            await soon(runtime.launch(a_run("any", tenant="nowhere")))
