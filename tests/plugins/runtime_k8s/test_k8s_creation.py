"""Making the objects of a benchmark: the order, what a failing step undoes, adoption, and interruptions anywhere."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from evalhub_runtime_k8s.names import names_for
from evalhub_runtime_k8s.settings import Hardening
from evalhub_server.errors import LaunchError
from evalhub_server.models.job import Model, ModelAuth
from evalhub_server.plugins import BenchmarkRun, RuntimeUnavailable
from harness.kube import TENANT, FakeCluster, Fault
from harness.kube.kinds import CONFIG_MAPS, JOBS, NETWORK_POLICIES, SECRETS
from harness.kube.rights import OPERATOR
from harness.kube.runtime import a_run, notice_of, opened, soon, until
from harness.waiting import wait_until

pytestmark = pytest.mark.usefixtures("kubeconfig")

CREDENTIALS = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "model-creds", "namespace": TENANT},
    "data": {"api-key": "c2VjcmV0"},
}
STEPS = [
    ("create", "secrets"),
    ("create", "configmaps"),
    ("create", "jobs"),
    ("update", "configmaps"),
    ("update", "secrets"),
]
CREATES = STEPS[:3]


@pytest.fixture(autouse=True)
def credentials(cluster: FakeCluster) -> None:
    cluster.seed(CREDENTIALS)


def with_secret(script: str = "stops", **spec: Any) -> BenchmarkRun:
    """A run that makes all three objects."""
    model = Model(url="http://m.team-a.svc/v1", name="m", auth=ModelAuth(secret_ref="model-creds"))
    return a_run(script, model=model, **spec)


def steps(cluster: FakeCluster) -> list[str]:
    return cluster.called("create", "update", "delete", "patch")


async def test_objects_are_made_in_the_order_of_the_released_server(cluster: FakeCluster):
    async with opened() as runtime:
        await runtime.launch(with_secret())
    assert steps(cluster) == [f"{verb} {resource}" for verb, resource in STEPS]
    job = cluster.jobs()[0]
    reference = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "name": job["metadata"]["name"],
        "uid": job["metadata"]["uid"],
        "controller": True,
    }
    for kind in (CONFIG_MAPS, SECRETS):
        [made] = cluster.objects(kind, app="evalhub")
        assert made["metadata"]["ownerReferences"] == [reference]


@pytest.mark.parametrize(("verb", "resource"), CREATES)
@pytest.mark.parametrize("status", [403, 422])
async def test_a_step_that_is_refused_undoes_those_before_it(
    cluster: FakeCluster, verb: str, resource: str, status: int
):
    cluster.inject(Fault(verb, resource, status=status, reason="Forbidden", message="not like this"))
    run = with_secret()
    async with opened() as runtime:
        with pytest.raises(LaunchError, match="not like this"):
            await runtime.launch(run)
        assert await runtime.find(run) is None
    assert cluster.leftovers() == []


@pytest.mark.parametrize(("verb", "resource"), STEPS)
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("fault", [{"status": 503}, {"drop": True}])
async def test_a_bad_moment_at_any_step_leads_to_one_job(
    cluster: FakeCluster, verb: str, resource: str, after: bool, fault: dict[str, Any]
):
    cluster.inject(Fault(verb, resource, after=after, **fault))
    async with opened() as runtime:
        handle = await runtime.launch(with_secret("exits:0"))
        assert (await soon(runtime.wait(handle))).code == 0
    assert len(cluster.jobs()) == 1
    assert all(made["metadata"].get("ownerReferences") for made in cluster.objects(SECRETS, app="evalhub"))


@pytest.mark.parametrize(("verb", "resource"), STEPS)
async def test_an_outage_in_the_middle_is_overcome_by_launching_again(
    cluster: FakeCluster, verb: str, resource: str
):
    cluster.inject(Fault(verb, resource, times=1000, drop=True))
    run = with_secret()
    async with opened() as runtime:
        with pytest.raises(RuntimeUnavailable):
            await runtime.launch(run)
        cluster.heal()
        handle = await runtime.launch(run)
        assert handle["uid"] == cluster.jobs()[0]["metadata"]["uid"]
    assert len(cluster.objects(CONFIG_MAPS, app="evalhub")) == 1


async def test_a_conflict_on_the_owner_is_tried_again(cluster: FakeCluster):
    cluster.inject(Fault("update", "configmaps", times=2, status=409, reason="Conflict"))
    async with opened() as runtime:
        await runtime.launch(with_secret())
    assert cluster.objects(CONFIG_MAPS, app="evalhub")[0]["metadata"]["ownerReferences"]


async def test_an_owner_that_cannot_be_set_keeps_the_secret(cluster: FakeCluster):
    cluster.inject(Fault("update", "secrets", status=403, reason="Forbidden"))
    async with opened() as runtime:
        handle = await runtime.launch(with_secret())
        assert cluster.objects(SECRETS, app="evalhub")
        await runtime.stop(handle, 5)
    cluster.until_empty()


async def test_a_config_map_that_is_deleted_meanwhile_takes_the_job_with_it(cluster: FakeCluster):
    hold = cluster.hold("create", "jobs", after=True)
    async with opened() as runtime:
        launch = asyncio.create_task(runtime.launch(with_secret()))
        await until(lambda: hold.waiting, "the Job is made")
        cluster.delete(cluster.objects(CONFIG_MAPS, app="evalhub")[0])
        hold.release()
        with pytest.raises(LaunchError, match="deleted"):
            await soon(launch)
    cluster.until_empty()


async def test_what_an_earlier_launch_made_is_adopted(cluster: FakeCluster):
    run = with_secret()
    async with opened() as runtime:
        first = await runtime.launch(run)
    async with opened() as restarted:
        assert await restarted.launch(run) == first
    assert len(cluster.jobs()) == 1


async def test_an_object_of_another_owner_is_an_error_and_stays(cluster: FakeCluster):
    run = with_secret()
    name = names_for(*run.key).config_map
    foreign = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": TENANT, "labels": {"app": "evalhub"}},
        "data": {},
    }
    cluster.seed(foreign)
    async with opened() as runtime:
        with pytest.raises(LaunchError, match="does not belong to this evaluation"):
            await runtime.launch(run)
    assert cluster.leftovers() == [f"configmaps/{name}"]


async def test_what_is_still_being_deleted_is_waited_for(cluster: FakeCluster):
    cluster.pod_grace(3600)
    run = with_secret("runs")
    async with opened() as runtime:
        handle = await runtime.launch(run)
        await until(cluster.running, "it runs")
        await runtime.stop(handle, 0)
        with pytest.raises(RuntimeUnavailable, match="still being deleted"):
            await runtime.launch(run)


async def test_a_quota_that_is_used_up_is_waited_for(cluster: FakeCluster):
    text = 'jobs.batch "j" is forbidden: exceeded quota: q, requested: count/jobs.batch=1'
    cluster.inject(Fault("create", "jobs", status=403, reason="Forbidden", message=text))
    run = with_secret()
    async with opened() as runtime:
        with pytest.raises(RuntimeUnavailable, match="exceeded quota") as waits:
            await runtime.launch(run)
        assert waits.value.reason == "quota_exceeded"
        await runtime.launch(run)
    assert len(cluster.jobs()) == 1


async def test_a_secret_that_is_missing_is_named(cluster: FakeCluster):
    cluster.delete(CREDENTIALS)
    async with opened() as runtime:
        with pytest.raises(LaunchError, match="'model-creds'"):
            await runtime.launch(with_secret())
    assert steps(cluster) == []


async def test_no_more_launches_run_at_once_than_allowed(cluster: FakeCluster):
    holds = [cluster.hold("create", "configmaps") for _ in range(3)]
    async with opened(parallel_launches=2) as runtime:
        launches = [asyncio.create_task(runtime.launch(a_run("stops"))) for _ in range(3)]
        await until(lambda: sum(hold.waiting for hold in holds) == 2, "two wait")
        await asyncio.sleep(0.05)
        assert cluster.called("create").count("create configmaps") == 2
        for hold in holds:
            hold.release()
        await soon(asyncio.gather(*launches))


# --- cancelled, and restarted, at every step ----------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "resource"), STEPS)
@pytest.mark.parametrize("after", [False, True])
async def test_a_launch_that_is_cancelled_at_any_step_leaves_nothing_once_it_is_stopped(
    cluster: FakeCluster, verb: str, resource: str, after: bool
):
    hold = cluster.hold(verb, resource, after=after)
    run = with_secret()
    async with opened() as runtime:
        launch = asyncio.create_task(runtime.launch(run))
        await until(lambda: hold.waiting, "the step is reached")
        launch.cancel()
        finding = asyncio.create_task(runtime.find(run))
        hold.release()
        handle = await soon(finding)
        assert handle is not None
        await soon(runtime.stop(handle, 5))
    cluster.until_empty()
    reached = STEPS.index((verb, resource)) + 1
    creates = [f"{verb} {resource}" for verb, resource in CREATES[:reached]]
    assert cluster.called("create") == creates, "it went on after it was cancelled"


@pytest.mark.parametrize(("verb", "resource"), STEPS)
@pytest.mark.parametrize("after", [False, True])
async def test_a_server_that_dies_at_any_step_and_comes_back_makes_no_second_job(
    cluster: FakeCluster, verb: str, resource: str, after: bool
):
    hold = cluster.hold(verb, resource, after=after)
    run = with_secret("exits:0")
    async with opened() as runtime:
        launch = asyncio.create_task(runtime.launch(run))
        await until(lambda: hold.waiting, "the step is reached")
        launch.cancel()
        async with opened() as restarted:
            second = asyncio.create_task(restarted.launch(run))
            hold.release()
            handle = await soon(second)
            assert (await soon(restarted.wait(handle))).code == 0
    assert [len(cluster.objects(kind, app="evalhub")) for kind in (JOBS, CONFIG_MAPS, SECRETS)] == [1, 1, 1]


async def test_whoever_asks_again_while_a_cancelled_launch_comes_to_its_end_gets_a_job(cluster: FakeCluster):
    hold = cluster.hold("create", "configmaps")
    run = with_secret()
    async with opened() as runtime:
        launch = asyncio.create_task(runtime.launch(run))
        await until(lambda: hold.waiting, "the step is reached")
        launch.cancel()
        again = asyncio.create_task(runtime.launch(run))
        hold.release()
        handle = await soon(again)
        assert await runtime.find(run) == handle
    assert len(cluster.jobs()) == 1


def test_names_do_not_depend_on_anything_but_the_key():
    run = msgspec.structs.replace(a_run("runs"), tenant="other")
    assert names_for(*run.key) == names_for(run.spec.id, 0, 1)


async def test_a_pod_can_be_cut_off_from_whoever_would_connect_to_it(cluster: FakeCluster):
    cluster.grant({**OPERATOR, ("networking.k8s.io", "networkpolicies"): frozenset({"create"})})
    async with opened(hardening=Hardening(network_policy=True)) as runtime:
        handle = await runtime.launch(a_run("stops"))
        (policy,) = cluster.objects(NETWORK_POLICIES)
        (job,) = cluster.jobs()
        assert policy["spec"]["policyTypes"] == ["Ingress"]
        assert "ingress" not in policy["spec"]
        template = job["spec"]["template"]["metadata"]["labels"]
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= template.items()
        await runtime.stop(handle, 0)
    wait_until(lambda: not cluster.objects(NETWORK_POLICIES), "it is collected with the Job")


async def test_without_the_right_to_it_a_pod_runs_as_it_is(cluster: FakeCluster):
    async with opened(hardening=Hardening(network_policy=True)) as runtime:
        await runtime.launch(a_run("stops"))
    assert len(cluster.jobs()) == 1
    assert cluster.objects(NETWORK_POLICIES) == []


async def test_a_launch_that_waits_for_its_turn_is_cancelled_at_once(cluster: FakeCluster):
    hold = cluster.hold("create", "configmaps")
    first, second = with_secret(), with_secret()
    async with opened(parallel_launches=1) as runtime:
        launch = asyncio.create_task(runtime.launch(first))
        await until(lambda: hold.waiting, "the first has the only place")
        waiting = asyncio.create_task(runtime.launch(second))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        waiting.cancel()
        assert await soon(runtime.find(second)) is None
        hold.release()
        await soon(launch)
    assert len(cluster.jobs()) == 1


async def test_closing_does_not_wait_for_a_cluster_that_does_not_answer(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("evalhub_runtime_k8s.launches.CLOSE_S", 0.05)
    hold = cluster.hold("create", "configmaps")
    async with opened() as runtime:
        launch = asyncio.create_task(runtime.launch(with_secret()))
        await until(lambda: hold.waiting, "the call is under way")
        launch.cancel()
    hold.release()
    assert cluster.jobs() == []


async def test_warnings_of_the_cluster_are_reported_when_no_pod_starts(cluster: FakeCluster):
    cluster.refuse_pods()
    async with opened() as runtime:
        handle = await runtime.launch(a_run("stops"))
        notice = await notice_of(runtime, handle, "no_pod")
        assert "would violate PodSecurity" in notice.message
        await runtime.stop(handle, 0)
