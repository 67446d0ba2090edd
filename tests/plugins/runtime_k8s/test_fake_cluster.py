"""The fake cluster behaves like the real API server in what this project relies on; asked by the real client."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from aiohttp import ClientConnectionError
from kubernetes_asyncio import client, watch
from kubernetes_asyncio.client import ApiClient, ApiException

from harness.kube import TENANT, FakeCluster, Fault
from harness.kube.kinds import JOBS, PODS
from harness.kube.rights import WITH_WATCH
from harness.waiting import wait_until

FOREGROUND = client.V1DeleteOptions(propagation_policy="Foreground")


def a_job(name: str = "job-a", image: str = "script.test/stops", **spec: Any) -> dict[str, Any]:
    labels = {"app": "evalhub", "job_id": name}
    container = {"name": "adapter", "image": image}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": TENANT, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "template": {
                "metadata": {"labels": labels},
                "spec": {"restartPolicy": "Never", "containers": [container], **spec},
            },
        },
    }


def a_config_map(name: str = "map-a", **metadata: Any) -> dict[str, Any]:
    labels = {"app": "evalhub", "job_id": "job-a"}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": TENANT, "labels": labels, **metadata},
        "data": {"k": "v"},
    }


async def refusal(call: Any) -> ApiException:
    with pytest.raises(ApiException) as refused:
        await call
    return refused.value


def has_condition(cluster: FakeCluster, type_: str, reason: str = "") -> bool:
    conditions = [c for job in cluster.jobs() for c in job["status"].get("conditions", [])]
    return any(c["type"] == type_ and reason in ("", c["reason"]) for c in conditions)


async def test_an_object_gets_identity_and_defaults_and_is_read_back(api: ApiClient) -> None:
    batch = client.BatchV1Api(api)
    made = await batch.create_namespaced_job(TENANT, a_job())
    assert made.metadata.uid
    assert made.metadata.creation_timestamp
    assert (made.spec.completions, made.spec.suspend) == (1, False)
    read = await batch.read_namespaced_job("job-a", TENANT)
    assert read.metadata.uid == made.metadata.uid


async def test_a_dry_run_leaves_nothing(api: ApiClient, cluster: FakeCluster) -> None:
    made = await client.BatchV1Api(api).create_namespaced_job(TENANT, a_job(), dry_run="All")
    assert made.metadata.uid
    assert cluster.jobs() == []


async def test_a_second_object_of_a_name_is_refused(api: ApiClient) -> None:
    core = client.CoreV1Api(api)
    await core.create_namespaced_config_map(TENANT, a_config_map())
    error = await refusal(core.create_namespaced_config_map(TENANT, a_config_map()))
    assert error.status == 409
    assert '"reason": "AlreadyExists"' in error.body


async def test_a_stale_update_is_refused(api: ApiClient) -> None:
    core = client.CoreV1Api(api)
    first = await core.create_namespaced_config_map(TENANT, a_config_map())
    first.data["k"] = "newer"
    await core.replace_namespaced_config_map("map-a", TENANT, first)
    error = await refusal(core.replace_namespaced_config_map("map-a", TENANT, first))
    assert (error.status, '"reason": "Conflict"' in error.body) == (409, True)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"metadata": {"name": "Not_A_Name"}}, "metadata.name"),
        ({"metadata": {"name": "a" * 64}}, "metadata.name"),
        ({"metadata": {"name": "a", "labels": {"job_id": "-bad-"}}}, "metadata.labels"),
    ],
)
async def test_what_is_invalid_is_refused_with_its_cause(
    api: ApiClient, change: dict[str, Any], field: str
) -> None:
    error = await refusal(client.BatchV1Api(api).create_namespaced_job(TENANT, {**a_job(), **change}))
    assert error.status == 422
    assert f'"field": "{field}"' in error.body


async def test_a_verb_without_the_right_is_forbidden(api: ApiClient) -> None:
    core, batch = client.CoreV1Api(api), client.BatchV1Api(api)
    await core.create_namespaced_config_map(TENANT, a_config_map())
    for call in (
        core.patch_namespaced_config_map("map-a", TENANT, {"data": {}}),
        core.list_namespaced_event(TENANT),
        batch.list_job_for_all_namespaces(),
        batch.delete_collection_namespaced_job(TENANT),
        core.list_namespace(),
        batch.list_namespaced_job(TENANT, watch=True, _preload_content=True),
    ):
        error = await refusal(call)
        assert error.status == 403
        assert "cannot" in error.body


async def test_an_owner_reference_may_not_block_deletion(api: ApiClient) -> None:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "j", "uid": "u", "controller": True}
    core = client.CoreV1Api(api)
    body = a_config_map(ownerReferences=[{**owner, "blockOwnerDeletion": True}])
    assert (await refusal(core.create_namespaced_config_map(TENANT, body))).status == 403


async def test_a_list_comes_in_pages_and_by_labels(api: ApiClient) -> None:
    core = client.CoreV1Api(api)
    for index in range(5):
        await core.create_namespaced_config_map(TENANT, a_config_map(f"map-{index}"))
    other = a_config_map("other", labels={"app": "something-else"})
    await core.create_namespaced_config_map(TENANT, other)
    page = await core.list_namespaced_config_map(TENANT, label_selector="app=evalhub", limit=3)
    rest = await core.list_namespaced_config_map(
        TENANT, label_selector="app in (evalhub)", limit=3, _continue=page.metadata._continue
    )
    assert [m.metadata.name for m in page.items + rest.items] == [f"map-{index}" for index in range(5)]
    assert rest.metadata._continue is None


async def test_a_job_runs_a_pod_and_gets_its_outcome(api: ApiClient, cluster: FakeCluster) -> None:
    await client.BatchV1Api(api).create_namespaced_job(TENANT, a_job(image="script.test/exits:3"))
    wait_until(lambda: has_condition(cluster, "Failed", "BackoffLimitExceeded"), "the job fails")
    pods = await client.CoreV1Api(api).list_namespaced_pod(TENANT, label_selector="job-name=job-a")
    assert pods.items[0].status.container_statuses[0].state.terminated.exit_code == 3


async def test_a_foreground_deletion_waits_for_the_pod(api: ApiClient, cluster: FakeCluster) -> None:
    cluster.pod_grace(30)
    batch = client.BatchV1Api(api)
    await batch.create_namespaced_job(TENANT, a_job(image="script.test/runs"))
    wait_until(lambda: [p for p in cluster.objects(PODS) if p["status"]["phase"] == "Running"], "it runs")
    await batch.delete_namespaced_job("job-a", TENANT, body=FOREGROUND)
    job = await batch.read_namespaced_job("job-a", TENANT)
    assert job.metadata.deletion_timestamp is not None
    assert job.metadata.finalizers == ["foregroundDeletion"]


async def test_a_foreground_deletion_takes_the_pod_first(api: ApiClient, cluster: FakeCluster) -> None:
    batch = client.BatchV1Api(api)
    await batch.create_namespaced_job(TENANT, a_job())
    wait_until(lambda: cluster.objects(PODS), "there is a pod")
    await batch.delete_namespaced_job("job-a", TENANT, body=FOREGROUND)
    cluster.until_empty()


async def test_a_deletion_without_a_policy_leaves_the_pod(api: ApiClient, cluster: FakeCluster) -> None:
    batch = client.BatchV1Api(api)
    await batch.create_namespaced_job(TENANT, a_job())
    wait_until(lambda: cluster.objects(PODS), "there is a pod")
    await batch.delete_namespaced_job("job-a", TENANT)
    wait_until(lambda: not cluster.jobs(), "the job is gone")
    assert cluster.objects(PODS)


async def test_what_a_job_owns_goes_with_it(api: ApiClient, cluster: FakeCluster) -> None:
    job = await client.BatchV1Api(api).create_namespaced_job(TENANT, a_job(image="script.test/exits:0"))
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "job-a", "uid": job.metadata.uid}
    core = client.CoreV1Api(api)
    await core.create_namespaced_config_map(TENANT, a_config_map(ownerReferences=[owner]))
    wait_until(lambda: has_condition(cluster, "Complete"), "the job completes")
    cluster.delete(cluster.jobs()[0])
    cluster.until_empty()


async def test_a_log_is_read_by_lines(api: ApiClient, cluster: FakeCluster) -> None:
    body = a_job(image="script.test/exits:0")
    env = [{"name": "TEXT", "value": "first\nsecond\nthird\n"}]
    body["spec"]["template"]["spec"]["containers"][0]["env"] = env
    await client.BatchV1Api(api).create_namespaced_job(TENANT, body)
    wait_until(lambda: has_condition(cluster, "Complete"), "the job completes")
    name = cluster.objects(PODS)[0]["metadata"]["name"]
    core = client.CoreV1Api(api)
    assert await core.read_namespaced_pod_log(name, TENANT, tail_lines=2) == "second\nthird\n"


async def test_a_log_of_what_has_not_started_is_a_bad_request(api: ApiClient, cluster: FakeCluster) -> None:
    await client.BatchV1Api(api).create_namespaced_job(TENANT, a_job(image="script.test/pending"))
    name = wait_until(lambda: cluster.objects(PODS), "there is a pod")[0]["metadata"]["name"]
    error = await refusal(client.CoreV1Api(api).read_namespaced_pod_log(name, TENANT))
    assert (error.status, "waiting to start" in error.body) == (400, True)


async def test_a_watch_tells_changes_and_bookmarks(api: ApiClient, cluster: FakeCluster) -> None:
    cluster.grant(WITH_WATCH)
    batch = client.BatchV1Api(api)
    seen = []
    async with (
        asyncio.timeout(30),
        watch.Watch().stream(
            batch.list_namespaced_job, TENANT, resource_version="1000", allow_watch_bookmarks=True
        ) as events,
    ):
        async for event in events:
            if event["type"] == "BOOKMARK" and "ADDED" not in seen:
                await batch.create_namespaced_job(TENANT, a_job())
            seen.append(event["type"])
            if "ADDED" in seen:
                break
    assert seen[0] == "BOOKMARK"
    assert seen[-1] == "ADDED"


async def test_a_watch_from_too_long_ago_is_refused(api: ApiClient, cluster: FakeCluster) -> None:
    cluster.grant(WITH_WATCH)
    cluster.drop_watches(compact=True)
    batch = client.BatchV1Api(api)
    error = None
    async with (
        asyncio.timeout(30),
        watch.Watch().stream(batch.list_namespaced_job, TENANT, resource_version="1000") as events,
    ):
        try:
            async for _ in events:
                pass
        except ApiException as raised:
            error = raised
    assert error is not None
    assert error.status == 410


async def test_faults_come_before_or_after_the_effect(api: ApiClient, cluster: FakeCluster) -> None:
    core = client.CoreV1Api(api)
    before = Fault("create", "configmaps", status=503, retry_after_s=1)
    cluster.inject(before)
    assert (await refusal(core.create_namespaced_config_map(TENANT, a_config_map()))).status == 503
    cluster.inject(Fault("create", "configmaps", status=500, after=True))
    assert (await refusal(core.create_namespaced_config_map(TENANT, a_config_map()))).status == 500
    assert (await refusal(core.create_namespaced_config_map(TENANT, a_config_map()))).status == 409
    assert before.hits == 1


async def test_an_outage_cuts_connections(api: ApiClient, cluster: FakeCluster) -> None:
    batch = client.BatchV1Api(api)
    cluster.outage()
    with pytest.raises(ClientConnectionError):
        await batch.list_namespaced_job(TENANT)
    cluster.outage(on=False)
    assert (await batch.list_namespaced_job(TENANT)).items == []


async def test_a_suspended_job_has_no_pod_until_it_is_admitted(api: ApiClient, cluster: FakeCluster) -> None:
    cluster.suspend_new_jobs()
    body = a_job()
    body["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] = "lq"
    await client.BatchV1Api(api).create_namespaced_job(TENANT, body)
    wait_until(lambda: has_condition(cluster, "Suspended"), "the job is suspended")
    assert cluster.objects(PODS) == []
    cluster.admit(cluster.objects(JOBS)[0])
    wait_until(lambda: cluster.objects(PODS), "there is a pod")
