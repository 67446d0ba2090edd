"""Ways of benchmarks through the cluster: how each ends, what is said meanwhile, and what an outage changes."""

from __future__ import annotations

import asyncio

import msgspec
import pytest

from evalhub_server.models.common import Queue
from evalhub_server.plugins import BenchmarkRun, LogOptions, RuntimeUnavailable
from harness.kube import FakeCluster, Fault
from harness.kube.kinds import PODS
from harness.kube.rights import OPERATOR, WITH_WATCH
from harness.kube.runtime import OFTEN, a_run, exit_of, log_of, notice_of, opened, soon, until
from harness.waiting import wait_until

pytestmark = pytest.mark.usefixtures("kubeconfig")


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("oom", "oom_killed"),
        ("evicted", "evicted"),
        ("preempted", "preempted"),
        ("node-lost", "pod_lost"),
        ("waits:ImagePullBackOff", "image_pull_failed"),
        ("waits:InvalidImageName", "image_invalid"),
        ("waits:CreateContainerConfigError", "container_config_error"),
        ("exits:137", "adapter_killed"),
    ],
)
async def test_every_end_has_its_reason(script: str, reason: str):
    async with opened() as runtime:
        exit_ = await exit_of(runtime, a_run(script))
    assert exit_.reason == reason
    assert exit_.hint


async def test_a_termination_message_is_reported():
    async with opened() as runtime:
        exit_ = await exit_of(runtime, a_run("exits:3", env={"MESSAGE": "no such task"}))
    assert (exit_.code, exit_.message) == (3, "no such task")


async def test_a_missed_deadline_is_reported(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("stops"))
        cluster.miss_deadline(cluster.jobs()[0])
        assert (await soon(runtime.wait(handle))).reason == "deadline_exceeded"


async def test_a_job_that_is_deleted_from_outside_has_disappeared(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("stops"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(lambda: cluster.called().count("list jobs") > 1, "the Job is watched")
        cluster.delete(cluster.jobs()[0])
        exit_ = await soon(waiting)
    assert (exit_.reason, exit_.lost) == ("job_disappeared", True)


async def test_a_job_that_waits_for_its_queue_says_so_until_it_is_admitted(cluster: FakeCluster):
    cluster.suspend_new_jobs()
    run = a_run("exits:0")
    run = with_queue(run, "lq")
    async with opened() as runtime:
        handle = await runtime.launch(run)
        notice = await notice_of(runtime, handle, "suspended")
        assert "'lq'" in notice.message
        cluster.admit(cluster.jobs()[0])
        assert (await soon(runtime.wait(handle))).code == 0


def with_queue(run: BenchmarkRun, name: str) -> BenchmarkRun:
    return msgspec.structs.replace(run, queue=Queue(kind="kueue", name=name))


@pytest.mark.parametrize(
    ("script", "reason"),
    [("unschedulable", "unschedulable"), ("waits:ImagePullBackOff", "image_pull_failed")],
)
async def test_what_keeps_a_pod_from_running_is_said(script: str, reason: str):
    async with opened() as runtime:
        handle = await runtime.launch(a_run(script))
        assert (await notice_of(runtime, handle, reason)).message
        await runtime.stop(handle, 0)


async def test_a_pod_without_a_node_goes_on_waiting(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("unschedulable"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await notice_of(runtime, handle, "unschedulable")
        assert not waiting.done()
        await runtime.stop(handle, 0)
        await soon(waiting)
    cluster.until_empty()


# --- outages ----------------------------------------------------------------------------------------------------


async def test_an_outage_is_logged_and_fails_nothing(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("stops"))
        waiting = asyncio.create_task(runtime.wait(handle))
        cluster.outage()
        notice = await notice_of(runtime, handle, "state_unknown")
        assert "Unknown since 20" in notice.message
        assert not waiting.done()
        cluster.outage(on=False)
        await until(lambda: "list pods" in cluster.called()[-3:], "it is looked at again")
        assert not waiting.done()
        await runtime.stop(handle, 0)
        await soon(waiting)


async def test_an_end_during_an_outage_is_found_out_afterwards(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("stops"))
        waiting = asyncio.create_task(runtime.wait(handle))
        cluster.outage()
        await notice_of(runtime, handle, "state_unknown")
        cluster.miss_deadline(cluster.jobs()[0])
        assert not waiting.done()
        cluster.outage(on=False)
        assert (await soon(waiting)).reason == "deadline_exceeded"


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 429, "retry_after_s": 0}, {"drop": True}])
async def test_a_few_bad_answers_are_nothing(cluster: FakeCluster, fault: dict):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("exits:3"))
        cluster.inject(Fault("list", "jobs", times=2, **fault))
        assert (await soon(runtime.wait(handle))).code == 3


async def test_without_the_right_to_list_nothing_fails_and_a_notice_says_so(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("exits:3"))
        cluster.grant({})
        notice = await notice_of(runtime, handle, "state_unknown")
        assert "may not list" in notice.message
        cluster.grant(OPERATOR)
        assert (await soon(runtime.wait(handle))).code == 3


# --- watches ----------------------------------------------------------------------------------------------------

RARELY = type(OFTEN)(3600)


async def test_with_the_right_to_watch_an_end_is_known_at_once(cluster: FakeCluster):
    cluster.grant(WITH_WATCH)
    async with opened(poll_interval=RARELY) as runtime:
        handle = await runtime.launch(a_run("stops"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(lambda: cluster.open_watches == 2, "Jobs and pods are watched")
        cluster.miss_deadline(cluster.jobs()[0])
        assert (await soon(waiting)).reason == "deadline_exceeded"


async def test_a_watch_that_is_too_old_restarts_from_a_list(cluster: FakeCluster):
    cluster.grant(WITH_WATCH)
    cluster.inject(Fault("watch", "jobs", status=410, reason="Expired"))
    async with opened(poll_interval=RARELY) as runtime:
        handle = await runtime.launch(a_run("stops"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(lambda: cluster.open_watches == 2, "both are watched after all")
        cluster.miss_deadline(cluster.jobs()[0])
        assert (await soon(waiting)).reason == "deadline_exceeded"


async def test_broken_watches_restart(cluster: FakeCluster):
    cluster.grant(WITH_WATCH)
    async with opened() as runtime:
        handle = await runtime.launch(a_run("stops"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(lambda: cluster.open_watches == 2, "Jobs and pods are watched")
        cluster.drop_watches(compact=True)
        await until(lambda: cluster.called().count("watch jobs") > 1, "they restart")
        assert not waiting.done()
        await runtime.stop(handle, 0)
        await soon(waiting)


async def test_without_the_right_to_watch_it_is_tried_once(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("runs"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(lambda: cluster.called().count("list jobs") > 5, "it polls")
        assert (cluster.called().count("watch jobs"), cluster.called().count("watch pods")) == (1, 1)
        await runtime.stop(handle, 0)
        await soon(waiting)


# --- logs -------------------------------------------------------------------------------------------------------


async def test_the_end_of_a_log_outlives_a_job_that_the_server_deletes(cluster: FakeCluster):
    async def talks(pod):
        pod.runs()
        pod.prints("first\n" + "\r".join(f"{number}%" for number in range(20_000)) + "\nlast words\n")
        await pod.terminating.wait()
        pod.exits(143)

    cluster.script("script.test/talks", talks)
    async with opened() as runtime:
        handle = await runtime.launch(a_run("talks"))
        wait_until(cluster.running, "it runs")
        await runtime.stop(handle, 5)
        cluster.until_empty()
        assert await log_of(runtime, handle) == "first\n19999%\nlast words\n"
        assert await log_of(runtime, handle, tail_lines=1) == "last words\n"
        await runtime.remove(handle["job_id"], "team-a")
        assert await log_of(runtime, handle) == ""


async def test_a_stop_does_not_wait_long_for_a_log(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("evalhub_runtime_k8s.logs.KEEP_TIMEOUT_S", 0.5)  # enough for the request to arrive
    hold = cluster.hold("get", "pods/log")
    async with opened() as runtime:
        handle = await runtime.launch(a_run("stops"))
        await until(cluster.running, "it runs")
        await soon(runtime.stop(handle, 5))
        assert hold.waiting
        hold.release()
        cluster.until_empty()


@pytest.mark.parametrize(
    ("script", "exists"), [("waits:ContainerCreating", False), ("exits:3", True), ("pending", False)]
)
async def test_a_log_exists_when_the_adapter_has_started(cluster: FakeCluster, script: str, exists: bool):
    async with opened() as runtime:
        handle = await runtime.launch(a_run(script))
        await until(lambda: cluster.objects(PODS), "there is a pod")
        if exists:
            await soon(runtime.wait(handle))
        assert await runtime.has_log(handle) is exists
        assert not await runtime.has_log({"pid": 1})


async def test_a_pod_that_has_not_started_has_an_empty_log(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("waits:ContainerCreating"))
        wait_until(lambda: cluster.objects(PODS), "there is a pod")
        assert await log_of(runtime, handle) == ""
        pod, container = await runtime.log_source(handle, "any", 0)
        assert pod == cluster.objects(PODS)[0]["metadata"]["name"]
        assert container == "adapter"


async def test_the_jobs_name_stands_for_a_pod_that_there_is_not(cluster: FakeCluster):
    cluster.suspend_new_jobs()
    async with opened() as runtime:
        handle = await runtime.launch(with_queue(a_run("runs"), "lq"))
        assert await runtime.log_source(handle, "any", 0) == (handle["job"], "adapter")
        assert await runtime.log_source(None, "any", 0) == ("unknown", "adapter")


async def test_a_log_that_cannot_be_read_is_an_error_before_its_first_chunk(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("exits:0", env={"TEXT": "hello\n"}))
        await soon(runtime.wait(handle))
        cluster.outage()
        with pytest.raises(RuntimeUnavailable):
            await log_of(runtime, handle)
        cluster.outage(on=False)
        assert await log_of(runtime, handle) == "hello\n"


async def test_log_options_reach_the_cluster(cluster: FakeCluster):
    async with opened() as runtime:
        handle = await runtime.launch(a_run("exits:0", env={"TEXT": "hello\n"}))
        await soon(runtime.wait(handle))
        options = LogOptions(tail_lines=-1, timestamps=True, since_seconds=60)
        text = b"".join([chunk async for chunk in runtime.logs(handle, options)])
    assert text.endswith(b"Z hello\n")
    query = next(call.query for call in cluster.calls if call.resource == "pods/log")
    assert query == {"container": "adapter", "sinceSeconds": "60", "timestamps": "true"}


async def test_a_handle_of_another_kind_is_lost_without_an_error(cluster: FakeCluster):
    async with opened() as runtime:
        other = {"pid": 1}
        assert (await runtime.wait(other)).lost
        await runtime.stop(other, 0)
        assert await log_of(runtime, other) == ""
    assert cluster.called() == []
