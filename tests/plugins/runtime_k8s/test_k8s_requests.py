"""Number, order and rate of requests to the API server."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from evalhub_runtime_k8s.runtime import KubernetesRuntime
from evalhub_runtime_k8s.throttle import Paused, Priority, Throttle
from evalhub_server.plugins import Backoff, Exit, Handle, RuntimeUnavailable
from evalhub_server.plugins.sections import Timespan
from harness.kube import TENANT, FakeCluster, Fault, RateLimit
from harness.kube.faults import Call
from harness.kube.kinds import EVENTS, JOBS, PODS
from harness.kube.rights import OPERATOR, WITH_WATCH
from harness.kube.runtime import a_run, opened, soon, until

pytestmark = pytest.mark.usefixtures("kubeconfig")

RARELY = Timespan(3600)
MANY = 12


async def launched(runtime: KubernetesRuntime, count: int) -> tuple[list[Handle], list[asyncio.Task[Exit]]]:
    """Launch benchmarks in one namespace; the tasks wait for their exits."""
    handles = await asyncio.gather(*(runtime.launch(a_run("stops")) for _ in range(count)))
    return handles, [asyncio.create_task(runtime.wait(handle)) for handle in handles]


async def ended(runtime: KubernetesRuntime, handles: list[Handle], waiting: list[asyncio.Task[Exit]]) -> None:
    await asyncio.gather(*(runtime.stop(handle, 0) for handle in handles))
    await soon(asyncio.gather(*waiting))


def count(cluster: FakeCluster, short: str) -> int:
    return cluster.called().count(short)


# --- numbers ----------------------------------------------------------------------------------------------------


async def test_a_launch_is_three_requests(cluster: FakeCluster):
    async with opened() as runtime:
        await runtime.launch(a_run("stops"))
    assert cluster.called() == ["create configmaps", "create jobs", "update configmaps"]


async def test_a_poll_is_two_lists_however_many_jobs_there_are(cluster: FakeCluster):
    async with opened() as runtime:
        handles, waiting = await launched(runtime, MANY)
        await until(lambda: len(cluster.called("watch")) == 2, "the first look is over")
        before = len(cluster.calls)
        await until(lambda: count(cluster, "list jobs") > 4, "it polls")
        assert set(cluster.called()[before:]) == {"list jobs", "list pods"}
        await ended(runtime, handles, waiting)


async def test_launches_cause_no_polls(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("evalhub_runtime_k8s.reconciler.NEW_WORKLOAD_S", 3600)
    async with opened(poll_interval=RARELY) as runtime:
        handles, waiting = await launched(runtime, 1)
        await until(lambda: count(cluster, "list pods"), "the first is looked at")
        for _ in range(3):
            more = await launched(runtime, MANY // 3)
            handles += more[0]
            waiting += more[1]
        assert Counter(cluster.called("list")) == {"list jobs": 1, "list pods": 1}
        await ended(runtime, handles, waiting)


async def test_with_watches_nothing_is_requested_to_notice_exits(cluster: FakeCluster):
    cluster.grant(WITH_WATCH)
    async with opened(poll_interval=RARELY) as runtime:
        handles, waiting = await launched(runtime, MANY)
        await until(lambda: cluster.open_watches == 2 and len(cluster.running()) == MANY, "all are watched")
        before = len(cluster.calls)
        for pod in cluster.running():
            cluster.end_pod(pod, 3)
        exits = await soon(asyncio.gather(*waiting))
        assert {exit_.code for exit_ in exits} == {3}
        # Under load a watch may lag so much behind the other that an exit is confirmed by lists.
        assert len(cluster.calls) <= before + 4, cluster.called()[before:]
        del handles


async def test_interrupted_watches_continue_without_lists(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("evalhub_runtime_k8s.watches.SPREAD_S", 0.0)
    cluster.grant(WITH_WATCH)
    async with opened(poll_interval=RARELY) as runtime:
        _, waiting = await launched(runtime, 1)
        await until(lambda: cluster.open_watches == 2 and cluster.running(), "both are watched")
        lists = cluster.called("list")
        cluster.drop_watches()
        await until(lambda: len(cluster.called("watch")) == 4 and cluster.open_watches == 2, "they continue")
        assert cluster.called("list") == lists
        cluster.drop_watches()
        cluster.end_pod(cluster.running()[0], 0)  # while no watch is open
        assert (await soon(waiting[0])).code == 0


async def test_a_pod_that_is_older_than_the_end_of_its_job_is_read_again(cluster: FakeCluster):
    """Watches of Jobs and pods, and the memory of the API server, do not show both at the same moment."""
    async with opened() as runtime:
        handles, waiting = await launched(runtime, 1)
        await until(lambda: cluster.running() and count(cluster, "list pods") > 1, "it runs")
        cluster.lag(PODS)
        cluster.end_pod(cluster.running()[0], 3)
        assert (await soon(waiting[0])).code == 3
        del handles


async def test_a_watch_of_one_kind_is_not_restarted_by_each_poll(cluster: FakeCluster):
    cluster.grant({**OPERATOR, ("batch", "jobs"): WITH_WATCH["batch", "jobs"]})
    async with opened() as runtime:
        handles, waiting = await launched(runtime, 1)
        await until(lambda: count(cluster, "list pods") > 4, "it polls")
        assert Counter(cluster.called("watch")) == {"watch jobs": 1, "watch pods": 1}
        await ended(runtime, handles, waiting)


async def test_a_missed_change_is_found_by_a_list_now_and_then(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("evalhub_runtime_k8s.reconciler.RESYNC_S", 0.0)
    cluster.grant(WITH_WATCH)
    async with opened() as runtime:
        handles, waiting = await launched(runtime, 1)
        await until(lambda: count(cluster, "list pods") > 3, "it lists beside its watches")
        await ended(runtime, handles, waiting)


async def test_watches_of_many_namespaces_leave_connections_for_requests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A pool of 100 connections, the client's default, is used up by 50 namespaces."""
    tenants = [f"tenant-{number}" for number in range(52)]
    with FakeCluster(tenants) as cluster:
        cluster.grant(WITH_WATCH)
        monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(tmp_path)))
        async with opened(poll_interval=RARELY) as runtime:
            handles = await asyncio.gather(*(runtime.launch(a_run("stops", tenant=name)) for name in tenants))
            waiting = [asyncio.create_task(runtime.wait(handle)) for handle in handles]
            await until(lambda: cluster.open_watches == 2 * len(tenants), "all namespaces are watched")
            await soon(runtime.launch(a_run("stops", tenant=tenants[0])))
            for task in waiting:
                task.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)


# --- lists ------------------------------------------------------------------------------------------------------


async def test_polls_read_the_memory_of_the_api_server(cluster: FakeCluster):
    async with opened() as runtime:
        handles, waiting = await launched(runtime, 1)
        await until(lambda: count(cluster, "list pods") > 2, "it polls")
        queries = [call.query for call in cluster.calls if call.verb == "list"]
        assert all(query["resourceVersion"] == "0" and "limit" not in query for query in queries)
        await ended(runtime, handles, waiting)


async def test_a_job_that_the_memory_of_the_api_server_lacks_is_looked_for_in_etcd(cluster: FakeCluster):
    async with opened() as runtime:
        cluster.lag(JOBS)
        handles, waiting = await launched(runtime, 1)
        polled = Counter(cluster.called())["list jobs"]
        await until(lambda: count(cluster, "list jobs") > polled + 6, "it polls")
        assert not waiting[0].done(), "it has not disappeared"
        assert any("resourceVersion" not in call.query for call in cluster.calls if call.short == "list jobs")
        cluster.lag(None)
        await ended(runtime, handles, waiting)


async def test_large_namespaces_are_listed_in_pages(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch):
    for module in ("client", "reconciler"):
        monkeypatch.setattr(f"evalhub_runtime_k8s.{module}.PAGE", 2)
    async with opened() as runtime:
        handles, waiting = await launched(runtime, 5)
        await until(lambda: any("continue" in call.query for call in cluster.calls), "there are pages")
        for job in cluster.jobs():
            cluster.miss_deadline(job)
        assert {exit_.reason for exit_ in await soon(asyncio.gather(*waiting))} == {"deadline_exceeded"}
        del handles


class ExpiredPage(Fault):
    """The second page of a list is too old."""

    def __init__(self) -> None:
        super().__init__("list", status=410, reason="Expired")

    def matches(self, call: Call, *, after: bool) -> bool:
        return "continue" in call.query and super().matches(call, after=after)


async def test_a_list_whose_next_page_is_too_old_starts_again(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("evalhub_runtime_k8s.client.PAGE", 1)
    async with opened() as runtime:
        first, _ = await asyncio.gather(
            *(runtime.launch(a_run("stops", id="job-1", benchmark_index=index)) for index in range(2))
        )
        fault = cluster.inject(ExpiredPage())
        assert await runtime.remove(first["job_id"], TENANT) == ""
        assert fault.hits == 1
    cluster.until_empty()


# --- 429 --------------------------------------------------------------------------------------------------------


def limited(verb: str, resource: str, retry_after_s: int | None, times: int = 1) -> Fault:
    """What API Priority and Fairness answers when too many requests wait."""
    text = "too many requests, please try again later"
    return Fault(
        verb,
        resource,
        status=429,
        reason="TooManyRequests",
        message=text,
        times=times,
        retry_after_s=retry_after_s,
    )


async def test_retry_after_is_waited_for(cluster: FakeCluster):
    cluster.inject(limited("create", "configmaps", 1))
    async with opened() as runtime:
        await soon(runtime.launch(a_run("stops")))
    refused_s, repeated_s, *_ = (call.at_s for call in cluster.calls if call.verb == "create")
    assert repeated_s >= refused_s + 1


async def test_creations_continue_while_polls_are_refused(cluster: FakeCluster):
    async with opened() as runtime:
        handles, waiting = await launched(runtime, 1)
        await until(lambda: count(cluster, "list pods"), "it polls")
        fault = cluster.inject(limited("list", "jobs", 30))
        await until(lambda: fault.hits, "a poll is refused")
        polls = len(cluster.called("list"))
        await soon(runtime.launch(a_run("stops")))
        assert len(cluster.called("list")) == polls
        for task in waiting:
            task.cancel()
        del handles


async def test_polls_wait_while_creations_are_refused(cluster: FakeCluster):
    async with opened() as runtime:
        handles, waiting = await launched(runtime, 1)
        await until(lambda: count(cluster, "list pods") > 1, "it polls")
        cluster.inject(limited("create", "configmaps", 2))
        await soon(runtime.launch(a_run("stops")))
        times = [(call.short, call.at_s) for call in cluster.calls]
        refused_s = [at_s for short, at_s in times if short == "create configmaps"][1]
        # Up to two polls may have been sent before the refusal was read.
        assert (
            sum(short.startswith("list") and refused_s < at_s < refused_s + 2 for short, at_s in times) <= 2
        )
        await ended(runtime, handles, waiting)


async def test_a_limit_is_no_outage(cluster: FakeCluster):
    async with opened() as runtime:
        handles, waiting = await launched(runtime, 1)
        notices: list[str] = []

        async def listen() -> None:
            async with contextlib.aclosing(runtime.notices(handles[0])) as found:
                async for notice in found:
                    notices.append(notice.reason if notice else "")

        listening = asyncio.create_task(listen())
        fault = cluster.inject(limited("list", "*", 0, times=5))
        await until(lambda: fault.hits == 5, "several lists are refused")
        cluster.miss_deadline(cluster.jobs()[0])
        assert (await soon(waiting[0])).reason == "deadline_exceeded"
        listening.cancel()
        assert "state_unknown" not in notices


async def test_a_limit_without_a_delay_is_waited_for_as_well(
    cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("evalhub_runtime_k8s.throttle.UNSPECIFIED", Backoff(0.05, 0.1))
    cluster.inject(limited("create", "jobs", None, times=5))
    async with opened() as runtime:
        await soon(runtime.launch(a_run("stops")))
    assert count(cluster, "create jobs") == 6


async def test_a_limit_for_long_is_reported_and_nothing_is_sent_meanwhile(cluster: FakeCluster):
    cluster.inject(limited("create", "configmaps", 3600))
    async with opened() as runtime:
        for _ in range(2):
            with pytest.raises(RuntimeUnavailable, match="limits requests") as refused:
                await soon(runtime.launch(a_run("stops")))
            assert refused.value.reason == "cluster_unavailable"
    assert cluster.called("create") == ["create configmaps"]
    assert cluster.objects(EVENTS) == []


async def test_a_limit_that_does_not_end_is_reported(cluster: FakeCluster, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("evalhub_runtime_k8s.client.PAUSE_S", 0.2)
    cluster.inject(limited("create", "configmaps", 0, times=1000))
    async with opened() as runtime:
        with pytest.raises(RuntimeUnavailable):
            await soon(runtime.launch(a_run("stops")))


async def test_an_api_server_that_is_overloaded_delays_launches_and_fails_none(cluster: FakeCluster):
    fault = cluster.inject(RateLimit(4))
    with capture_logs() as logged:
        async with opened() as runtime:
            await soon(asyncio.gather(*(runtime.launch(a_run("stops")) for _ in range(2))))
    assert fault.hits
    assert Counter(cluster.called("update"))["update configmaps"] >= 2
    warnings = [line for line in logged if line["event"] == "The Kubernetes API limits requests"]
    assert warnings
    assert warnings[0]["priority_level"] == "workload-low"
    verbs = [line["verb"] for line in warnings]
    assert len(verbs) == len(set(verbs)), "one for each verb"


async def test_a_watch_that_is_refused_is_tried_again(cluster: FakeCluster):
    cluster.grant(WITH_WATCH)
    cluster.inject(limited("watch", "*", 0, times=2))
    async with opened() as runtime:
        handles, waiting = await launched(runtime, 1)
        await until(lambda: cluster.open_watches == 2, "they are accepted later")
        await ended(runtime, handles, waiting)


# --- order ------------------------------------------------------------------------------------------------------


HEADERS: dict[str, str] = {}


async def test_requests_are_sent_by_priority():
    throttle = Throttle(max_concurrent=1)
    order: list[str] = []
    entered, leave = asyncio.Event(), asyncio.Event()

    async def send(name: str, priority: Priority, hold: asyncio.Event | None = None) -> None:
        async with throttle.slot("create", priority, 30):
            order.append(name)
            entered.set()
            if hold is not None:
                await hold.wait()

    first = asyncio.create_task(send("first", Priority.POLL, leave))
    await entered.wait()
    others = [
        asyncio.create_task(send(priority.name, priority))
        for priority in (Priority.POLL, Priority.STATUS, Priority.WORKLOAD)
    ]
    cancelled = asyncio.create_task(send("cancelled", Priority.WORKLOAD))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    cancelled.cancel()
    leave.set()
    await asyncio.gather(first, *others)
    assert order == ["first", "WORKLOAD", "STATUS", "POLL"]


async def test_few_polls_are_sent_at_a_time():
    throttle = Throttle(max_concurrent=10, max_polls=2)
    now, most = 0, 0

    async def poll() -> None:
        nonlocal now, most
        async with throttle.slot("list", Priority.POLL, 30):
            now += 1
            most = max(most, now)
            await asyncio.sleep(0)
            now -= 1

    await asyncio.gather(*(poll() for _ in range(10)))
    assert most == 2


async def test_a_pause_that_is_too_long_is_not_waited_for():
    throttle = Throttle()
    throttle.pause("create", 3600, HEADERS)
    with pytest.raises(Paused, match="in 3600 seconds"):
        async with throttle.slot("create", Priority.WORKLOAD, 60):
            raise AssertionError
    with pytest.raises(Paused):
        async with throttle.slot("list", Priority.POLL, 60):
            raise AssertionError
    async with throttle.slot("list", Priority.WORKLOAD, 60), throttle.slot("delete", Priority.WORKLOAD, 60):
        pass
