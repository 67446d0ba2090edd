"""Creation of jobs with idempotency keys: their validity, and storages that fail with an unknown outcome."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import count

import pytest

from evalhub_common.durations import Timespan
from evalhub_server.domain.record import JobRecord
from evalhub_server.engine.exports import ExportService
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.job_creation import IdempotencyKey, JobCreator
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.open_runs import OpenRuns
from evalhub_server.engine.resource_store import ResourceStore
from evalhub_server.engine.resources import ResourceService
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.errors import ApiError, StorageUnavailable
from evalhub_server.models.job import BenchmarkRef, JobRequest, Model
from evalhub_server.settings import SupervisorSettings
from evalhub_server.testing.builders import EPOCH, a_provider
from evalhub_server.testing.echo import EchoRuntime
from evalhub_server.testing.memory import MemoryStorage

pytestmark = pytest.mark.asyncio

KEY = IdempotencyKey.of("k", "request")
REQUEST = JobRequest(
    name="nightly",
    model=Model(url="http://127.0.0.1:1/v1", name="m"),
    benchmarks=(BenchmarkRef(id="bench-0", provider_id="provider-a"),),
)


class Forgetful(MemoryStorage):
    """Stores the first job, and then reports that it may not have."""

    failing = True

    async def add_job(self, record: JobRecord) -> None:
        await super().add_job(record)
        if self.failing:
            self.failing = False
            raise StorageUnavailable("the connection was lost")


class World:
    """A creator with a clock that the test sets."""

    def __init__(self, storage: MemoryStorage) -> None:
        self.storage, self.now = storage, EPOCH
        self.store, self.runtime, ids = JobStore(storage), EchoRuntime(), count(1)
        runs = RunBuilder("http://127.0.0.1:1", self.runtime.provider_key, [])
        settings = SupervisorSettings(stop_grace=Timespan(0))
        self.supervisor = Supervisor(self.store, self.runtime, runs, settings, self.clock)
        resources = ResourceService(
            ResourceStore(storage), self.clock, lambda: "r", 10**6, commands_allowed=True
        )
        self.creator = JobCreator(
            self.store,
            self.supervisor,
            self.runtime,
            resources,
            [],
            self.clock,
            lambda: f"job-{next(ids)}",
            ExportService(self.store, {}, lambda _kind, _name: True, OpenRuns([])),
            -1,
        )

    def clock(self) -> datetime:
        return self.now

    async def create(self, key: IdempotencyKey | None = KEY) -> JobRecord:
        return await self.creator.create(REQUEST, Identity(tenant="t"), key)


@asynccontextmanager
async def a_world(storage: MemoryStorage) -> AsyncGenerator[World]:
    await storage.add_resource(a_provider(id="provider-a", owner="system"))
    world = World(storage)
    await world.supervisor.start()
    try:
        yield world
    finally:
        await world.supervisor.close()


@pytest.mark.parametrize("hour", [0, 12, 23])
async def test_a_key_is_valid_for_a_day(hour: int):
    async with a_world(MemoryStorage()) as world:
        world.now = start = EPOCH + timedelta(hours=hour)
        first = await world.create()
        world.now = start + timedelta(days=1) - timedelta(seconds=1)
        assert (await world.create()).id == first.id
        world.now = start + timedelta(days=1)
        second = await world.create()
        assert second.id != first.id
        world.now += timedelta(hours=23)
        assert (await world.create()).id == second.id


async def test_a_job_without_a_key_has_no_digest():
    async with a_world(MemoryStorage()) as world:
        assert (await world.create(None)).definition.request_digest == ""
        assert (await world.create()).definition.request_digest == KEY.digest


async def test_a_repeated_request_starts_a_job_that_was_stored_by_a_create_that_failed():
    storage = Forgetful()
    async with a_world(storage) as world:
        with pytest.raises(ApiError) as caught:
            await world.create()
        assert caught.value.status == 503
        assert world.supervisor.waiting + world.supervisor.running == 0
        for _ in range(2):
            await world.create()
            assert world.supervisor.waiting + world.supervisor.running == 1
