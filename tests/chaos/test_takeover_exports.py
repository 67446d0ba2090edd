"""Exports that are under way when a leader dies: one run and one artifact for each job, whatever was on its way.

``TAKEOVER_ROUNDS=100`` kills more leaders under load than the suite does.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from harness import wait_until
from harness.mlflow import MlflowServer
from harness.postgres import needs_postgres
from harness.registry import needs_registry
from harness.replicas import JOBS, TAKEOVER_S, state_of
from harness.takeovers import DEATHS, METRICS, Acknowledged, Exporting, RecordingClient

ROUNDS = int(os.environ.get("TAKEOVER_ROUNDS", "2"))
CLIENTS = 2

pytestmark = [needs_postgres, needs_registry, pytest.mark.slow]


@pytest.fixture(scope="module")
def exporting(tmp_path_factory: pytest.TempPathFactory, mlflow: MlflowServer) -> Iterator[Exporting]:
    with ExitStack() as stack:
        yield Exporting(tmp_path_factory.mktemp("takeovers"), mlflow, stack)


def test_a_request_of_a_dead_leader_that_takes_effect_late_is_no_second_effect(exporting: Exporting):
    exports = {}
    for die in DEATHS:
        leader = exporting.replicas.leader()
        under_way = dict(exporting.under_way(leader, after=after) for after in (False, True))
        die(exporting, leader)
        try:
            new = exporting.replicas.leader(leader)
            exports |= {job_id: exporting.until_exported(new, job_id) for job_id in under_way}
        finally:
            for hold in (hold for holds in under_way.values() for hold in holds):
                hold.release()  # after all requests of the new leader
            exporting.revive(leader, die)
    exporting.check_effects(exports)
    assert {job_id: exporting.message_ids[job_id] for job_id in exports} == dict.fromkeys(exports, 1)


def test_nothing_acknowledged_is_lost_and_no_effect_repeated_while_leaders_die_under_load(
    exporting: Exporting,
):
    replicas, chance = exporting.replicas, random.Random()  # noqa: S311  of a test
    clients = [RecordingClient(exporting, secrets.randbelow(2**32)) for _ in range(CLIENTS)]
    for client in clients:
        client.start()
    times: dict[str, list[float]] = defaultdict(list)
    try:
        for number in range(ROUNDS):
            before = acknowledged(clients).writes
            moment = before + 1 + chance.randrange(40)
            wait_until(lambda: acknowledged(clients).writes >= moment, "writes", TAKEOVER_S)  # noqa: B023
            leader, die = replicas.leader(), chance.choice(DEATHS)
            started = time.monotonic()
            die(exporting, leader)
            try:
                replicas.leader(leader)
                times[die.__name__].append(round(time.monotonic() - started, 1))
            finally:
                exporting.revive(leader, die)  # also for a repetition of this test
            print(f"round {number + 1}: {acknowledged(clients).writes} writes, {dict(times)}", flush=True)
    finally:
        for client in clients:
            client.stop.set()
        for client in clients:
            client.join()
    assert [text for client in clients for text in client.unexpected] == []
    known = acknowledged(clients)
    assert len(known.created) == sum(len(client.acknowledged.created) for client in clients) > 10
    server = replicas.followers()[0]
    for job_id in known.completed:
        assert state_of(server, job_id) == "completed"
    for job_id in known.cancelled:
        assert state_of(server, job_id) == "cancelled"
    for job_id in known.deleted:
        assert server.call("GET", f"{JOBS}/{job_id}").status == 404
    ended = known.exporting & (known.completed | known.cancelled)
    exporting.check_effects({job_id: exporting.until_exported(server, job_id) for job_id in ended})
    ids = wait_until(
        lambda: known.completed <= (ids := exporting.message_ids).keys() and ids, "messages", TAKEOVER_S
    )
    assert set(ids.values()) <= {1}, "one message id for each job, however often sent"
    for job_id in known.created:
        assert len(exporting.cluster.jobs(job_id=job_id)) <= len(METRICS)
    exporting.delete_all(server)


def acknowledged(clients: list[RecordingClient]) -> Acknowledged:
    parts = zip(*(client.acknowledged for client in clients), strict=True)
    return Acknowledged(*(set[str]().union(*(part.copy() for part in each)) for each in parts))
