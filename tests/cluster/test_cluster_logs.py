"""Logs of pods that clients follow: the server follows them in the cluster, too."""

from __future__ import annotations

import asyncio
from queue import SimpleQueue

import pytest

from cluster.conftest import NewServer
from harness import Config
from harness.events import EventReader
from harness.kube import TENANT, FakeCluster
from harness.kube.pods import PodScript
from harness.server import API


@pytest.mark.slow
def test_a_followed_log_is_streamed_by_the_cluster(
    cluster: FakeCluster, config: Config, new_server: NewServer
) -> None:
    lines: SimpleQueue[str] = SimpleQueue()

    async def prints(pod: PodScript) -> None:
        pod.runs()
        while line := await asyncio.to_thread(lines.get):
            pod.prints(line)
        pod.exits(1)

    cluster.script("adapter.test/prints", prints)
    config.image("adapter.test/prints", "b")
    path = f"{API}/jobs/{{}}/benchmarks/0/logs?follow=true"
    fields = (f"X-Tenant: {TENANT}", "X-User: alice")
    lines.put("line 0\n")
    with new_server() as server:
        job_id = server.submit("b")
        with EventReader(server, path.format(job_id), *fields) as reader:
            for number in range(1, 7):
                assert reader.chunk() == f"line {number - 1}\n".encode()
                lines.put(f"line {number}\n")
            lines.put("")
            assert b"".join(iter(reader.chunk, b"")) == b"line 6\n"
    reads = [call.query for call in cluster.calls if call.resource == "pods/log"]
    started = [query for query in reads if query.get("follow") == "true"]
    assert len(reads) - len(started) <= 6  # around its start and its end, not for each line
