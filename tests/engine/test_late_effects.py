"""What an attempt that was cut short causes after the next server's success, at targets in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

import pytest

from evalhub_server.domain import transitions
from evalhub_server.domain.outbox import PendingExport, delivered, next_pending, with_pending_exports
from evalhub_server.domain.record import ExportOutcome, JobRecord, OutboxEntry
from evalhub_server.engine import late_effects
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.late_effects import LateEffects
from evalhub_server.engine.leader_store import LeaderStore
from evalhub_server.engine.outbox import Outbox
from evalhub_server.engine.outbox_targets import ExportTargets
from evalhub_server.errors import LeadershipLost, NotFound
from evalhub_server.models.common import State
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.settings import FinalizerSettings
from evalhub_server.testing.builders import a_job
from evalhub_server.testing.shared_memory import SharedMemory, SharedMemoryStorage
from evalhub_server.testing.targets import MemoryExporter, MemoryTarget


class Box(MemoryExporter):
    """Exports every job; ``settled`` has the calls of ``settle``, which raise the ``faults`` first."""

    def __init__(self) -> None:
        super().__init__(MemoryTarget())
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.settled: list[str] = []
        self.faults: list[Exception] = []

    def is_requested(self, job: JobRecord) -> bool:
        return True

    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        self.waiting += 1
        await self.gate.wait()
        return await super().export(job, entry)

    async def settle(self, job: JobRecord, entry: OutboxEntry) -> None:
        assert entry.state == "succeeded"
        self.waiting += 1
        await self.gate.wait()
        if self.faults:
            raise self.faults.pop(0)
        self.settled.append(job.id)


class Server:
    """One of the servers of a storage; leads unless another one does."""

    def __init__(self, memory: SharedMemory, box: Box, checks_s: tuple[float, ...] = (0.0, 0.01)) -> None:
        self.storage = SharedMemoryStorage(memory)
        targets = ExportTargets((), (box,))
        self.store = JobStore(self.storage, targets.pending_exports)
        self.leading = LeaderStore(self.storage, targets.pending_exports, self.store)
        self.lost = False
        self.outbox = Outbox(self.leading, targets, FinalizerSettings(), lambda: 0.5)
        self.late_effects = LateEffects(self.leading, self.store, targets, 2, checks_s)

    def check(self) -> None:
        if self.lost:
            raise LeadershipLost("lost")

    async def lead(self) -> None:
        self.leading.lead(self.storage, self.check, lambda: None)
        await self.outbox.start()
        await self.late_effects.start()

    async def close(self) -> None:
        await self.outbox.close(drain_s=0)
        await self.late_effects.close()

    async def entry(self, job: JobRecord) -> OutboxEntry:
        return (await self.store.get(job.id, None)).progress.outbox[0]

    async def done(self, job: JobRecord) -> None:
        """Wait until nothing is left to do for the job."""
        async with asyncio.timeout(60):
            while (await self.store.get(job.id, None)).open:
                await asyncio.sleep(0.005)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.005)


def ended(job: JobRecord, status: str = "completed") -> JobRecord:
    planned = job.plan.benchmarks[0]
    event = BenchmarkEvent(provider_id=planned.provider_id, id=planned.id, status=status)
    return transitions.apply_event(job, event, job.progress.updated_at)


def exported(job: JobRecord, *, recheck: bool) -> JobRecord:
    """A finished job whose export has succeeded."""
    job = with_pending_exports(job, [PendingExport(kind="exporter", name="memory", event="card")])
    entry = next_pending(job, "exporter", "memory")
    assert entry is not None
    return delivered(job, entry, ExportOutcome(), recheck=recheck)


@pytest.fixture
def box() -> Box:
    return Box()


@pytest.fixture
async def servers(box: Box) -> AsyncIterator[tuple[Server, Server]]:
    memory = SharedMemory()
    made = Server(memory, box), Server(memory, box)
    for each in made:
        await each.storage.open()
    yield made
    for each in made:
        await each.close()


async def test_an_export_that_an_earlier_server_may_have_begun_is_rechecked(
    servers: tuple[Server, Server], box: Box
):
    first, second = servers
    await first.lead()
    whole = await first.store.add(a_job())
    await first.store.update(whole.id, None, ended)
    await first.done(whole)
    box.gate.clear()
    cut_short = await first.store.add(a_job())
    await first.store.update(cut_short.id, None, ended)
    await until(lambda: box.waiting == 2)
    await first.close()
    box.gate.set()
    await second.lead()
    await second.done(cut_short)
    assert box.settled == [cut_short.id] * 2
    assert not (await second.entry(cut_short)).recheck


async def test_a_check_that_fails_is_repeated(
    servers: tuple[Server, Server], box: Box, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(late_effects, "RETRY_S", 0.01)
    first, _ = servers
    job = await first.store.add(exported(a_job(state=State.COMPLETED), recheck=True))
    box.faults = [OSError("down"), OSError()]
    await first.lead()
    await first.done(job)
    assert box.settled == [job.id] * 2


async def test_an_export_that_becomes_pending_again_is_rechecked_after_its_success(
    servers: tuple[Server, Server], box: Box
):
    first, _ = servers
    job = await first.store.add(exported(a_job(), recheck=True))
    box.gate.clear()
    await first.lead()
    await first.store.update(job.id, None, ended)
    await until(lambda: box.waiting)
    assert (await first.entry(job)).recheck
    box.settled.clear()
    box.gate.set()
    await first.done(job)
    assert box.settled == [job.id] * 2


@pytest.mark.parametrize("turns", range(5))
async def test_checks_stop_at_once_even_if_a_call_ends_at_that_moment(box: Box, turns: int):
    server = Server(SharedMemory(), box, checks_s=(0.0, 3600.0))
    await server.storage.open()
    await server.store.add(exported(a_job(state=State.COMPLETED), recheck=True))
    box.gate.clear()
    await server.lead()
    await until(lambda: box.waiting)
    box.gate.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await server.close()


async def test_the_check_of_a_job_that_is_deleted_ends(servers: tuple[Server, Server], box: Box):
    first, _ = servers
    job = await first.store.add(exported(a_job(state=State.COMPLETED), recheck=True))
    box.faults = [NotFound("gone")]
    await first.lead()
    await until(lambda: not box.faults)
    await first.late_effects.stop()
    assert box.settled == []
    assert (await first.entry(job)).recheck


async def test_a_server_that_lost_the_lead_checks_nothing(servers: tuple[Server, Server], box: Box):
    first, second = servers
    first.lost = True
    job = await first.store.add(exported(a_job(state=State.COMPLETED), recheck=True))
    await first.lead()
    assert box.settled == []
    await second.lead()
    await second.done(job)
    assert box.settled == [job.id] * 2


async def test_a_former_leader_has_the_next_one_recheck_what_it_was_exporting(
    servers: tuple[Server, Server], box: Box, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(late_effects, "MARK_RETRY_S", 0.01)
    first, second = servers
    await first.lead()
    box.gate.clear()
    jobs = [await first.store.add(a_job()) for _ in range(2)]
    for job in jobs:
        await first.store.update(job.id, None, ended)
    await until(lambda: box.waiting == 2)
    first.outbox.halt()
    cut_short = await first.outbox.close(drain_s=0)
    assert {each.job_id for each in cut_short} == {job.id for job in jobs}
    assert await first.outbox.close(drain_s=0) == []
    await second.store.delete(jobs[1], None)
    first.storage.cut()
    first.late_effects.mark(cut_short)
    first.storage.cut(False)
    async with asyncio.timeout(60):
        while not (await second.entry(jobs[0])).recheck:
            await asyncio.sleep(0.005)
    box.gate.set()
    await second.lead()
    await second.done(jobs[0])
    assert set(box.settled) == {jobs[0].id}
