"""The outbox over a storage, with exporters and a tracker at the door that plugins use."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from evalhub_server.domain import transitions
from evalhub_server.domain.outbox import retried, without_pending_exports
from evalhub_server.domain.record import ExportOutcome, JobRecord, OutboxEntry, TrackedExperiment
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.outbox import ExportAttempt, Outbox, retry_backoff
from evalhub_server.engine.outbox_metrics import ExportMetrics
from evalhub_server.engine.outbox_targets import ExportTargets
from evalhub_server.errors import ExportRefused
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.models.job import JobRequest
from evalhub_server.plugins import Exporter, Storage, Tracker
from evalhub_server.plugins.sections import Timespan
from evalhub_server.settings import FinalizerSettings
from evalhub_server.testing.builders import a_job
from evalhub_server.testing.memory import MemoryStorage
from evalhub_storage_sqlite.storage import SqliteStorage

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
QUICK = FinalizerSettings(max_parallel=2, retry_most=Timespan(0.01), max_attempts=5)


class Box(Exporter):
    """Keeps what it is sent. ``faults`` are raised, one per call; while ``gate`` is not set, calls hang."""

    def __init__(self, name: str = "box", faults: Sequence[BaseException] = ()) -> None:
        self.name = name
        self.faults = list(faults)
        self.gate = asyncio.Event()
        self.gate.set()
        self.sent: list[tuple[str, str]] = []
        self.now = self.most = self.cancelled = 0

    async def check(self) -> None:
        return

    def is_requested(self, job: JobRecord) -> bool:
        return True

    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.now -= 1
        if self.faults:
            raise self.faults.pop(0)
        self.sent.append((job.id, job.state.value))
        return ExportOutcome(reference=f"box/{job.id}")


class News(Box):
    """Gets an entry for every change of state; jobs need not request it."""

    def is_requested(self, job: JobRecord) -> bool:
        return False

    def events(self, before: JobRecord | None, after: JobRecord) -> Sequence[str]:
        return () if before is not None and before.state is after.state else (after.state.value,)

    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        await super().export(job, entry)
        self.sent[-1] = (job.id, entry.event)
        return ExportOutcome()


class Notebook(Tracker):
    name = "notebook"

    def __init__(self) -> None:
        self.runs: list[str] = []

    async def check(self) -> None:
        return

    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        return TrackedExperiment(id="7")

    def environment(self, tenant: str) -> dict[str, str]:
        return {}

    async def record(self, job: JobRecord) -> ExportOutcome:
        self.runs.append(job.id)
        return ExportOutcome(reference=f"run-of-{job.id}")


class World:
    """A storage, and an outbox over it that :meth:`restart` replaces."""

    def __init__(self, storage: Storage | None = None, settings: FinalizerSettings = QUICK) -> None:
        self.storage = storage or MemoryStorage()
        self.settings = settings
        self.attempts: list[ExportAttempt] = []
        self.outbox: Outbox | None = None

    async def start(self, *exporters: Exporter, trackers: Sequence[Tracker] = ()) -> None:
        targets = ExportTargets(trackers, exporters)
        self.store = JobStore(self.storage, targets.pending_exports)
        self.outbox = Outbox(
            self.store, targets, self.settings, lambda: 0.5, lambda text: text.replace("hunter2", "***")
        )
        self.outbox.listen(self.attempts.append)
        self.metrics = ExportMetrics(self.outbox)
        await self.outbox.start()

    async def close(self) -> None:
        if self.outbox is not None:
            await self.outbox.close()

    async def ended(self, job: JobRecord | None = None) -> JobRecord:
        """A job that is stored and then ends."""
        job = await self.store.add(job or a_job())
        return await self.report(job, "completed")

    async def report(self, job: JobRecord, status: str) -> JobRecord:
        planned = job.plan.benchmarks[0]
        event = BenchmarkEvent(provider_id=planned.provider_id, id=planned.id, status=status)
        return await self.store.update(
            job.id, None, lambda now: transitions.apply_event(now, event, now.progress.updated_at)
        )

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(60):
            while not condition():
                await asyncio.sleep(0.005)

    async def settled(self, job: JobRecord) -> JobRecord:
        async with asyncio.timeout(60):
            while (current := await self.store.get(job.id, None)).open:
                await asyncio.sleep(0.005)
        return current


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.close()


async def test_a_job_that_ends_is_exported_once_and_says_where(world: World):
    box = Box()
    await world.start(box)
    job = await world.settled(await world.ended())
    assert box.sent == [(job.id, "completed")]
    (export,) = job.progress.outbox
    assert (export.state, export.attempts) == ("succeeded", 1)
    assert export.outcome == ExportOutcome(reference=f"box/{job.id}")
    assert [(a.kind, a.name, a.event, a.result) for a in world.attempts] == [
        ("exporter", "box", "card", "succeeded")
    ]


async def test_a_tracker_gets_the_jobs_that_have_an_experiment(world: World):
    notebook = Notebook()
    await world.start(trackers=[notebook])
    without = await world.ended()
    assert without.progress.outbox == ()
    job = await world.settled(await world.ended(a_job(experiment_id="7", tracker="notebook")))
    assert notebook.runs == [job.id]
    assert job.progress.outbox[0].outcome == ExportOutcome(reference=f"run-of-{job.id}")


async def test_a_cancelled_job_is_exported_too(world: World):
    box = Box()
    await world.start(box)
    job = await world.store.add(a_job())
    await world.store.update(job.id, None, lambda job: transitions.cancel(job, NOW))
    await world.settled(job)
    assert box.sent == [(job.id, "cancelled")]


async def test_what_fails_is_tried_again_and_the_job_stays_what_it_was(world: World):
    box = Box(faults=[OSError("the door is shut"), TimeoutError(), asyncio.CancelledError()])
    await world.start(box)
    ended = await world.ended()
    job = await world.settled(ended)
    assert len(box.sent) == 1
    attempts = world.metrics.attempts.series()
    assert {labels: count.value for labels, count in attempts.items()} == {
        ("exporter", "box", "retrying"): 3,
        ("exporter", "box", "succeeded"): 1,
    }
    assert sum(world.metrics.seconds.labels("exporter", "box").counts) == 4
    assert (job.state, job.progress.updated_at) == (ended.state, ended.progress.updated_at)
    assert Counter(a.result for a in world.attempts) == {"retrying": 3, "succeeded": 1}
    assert job.progress.outbox[0].attempts == 4
    assert job.progress.outbox[0].error == ""


async def test_a_refusal_is_not_tried_again_and_is_shown_without_secrets(world: World):
    box = Box(faults=[ExportRefused("user:hunter2 may not write here \ud800")])
    await world.start(box)
    job = await world.settled(await world.ended())
    assert box.sent == []
    assert (job.progress.outbox[0].state, job.progress.outbox[0].error) == (
        "failed",
        "user:*** may not write here \\ud800",
    )
    assert [a.result for a in world.attempts] == ["failed"]


async def test_what_never_succeeds_is_given_up_some_day(world: World):
    box = Box(faults=[OSError("down")] * 100)
    await world.start(box)
    job = await world.settled(await world.ended())
    assert (job.progress.outbox[0].state, job.progress.outbox[0].attempts) == ("failed", QUICK.max_attempts)


async def test_an_outcome_that_cannot_be_stored_is_a_failure_like_any_other(world: World):
    class Broken(Box):
        async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
            await super().export(job, entry)
            return ExportOutcome(details={"event": object()} if len(self.sent) == 1 else {})

    box = Broken()
    await world.start(box)
    await world.settled(await world.ended())
    assert [a.result for a in world.attempts] == ["retrying", "succeeded"]


async def test_an_exporter_that_hangs_holds_up_no_event_and_no_other_exporter(world: World):
    stuck, box = Box("stuck"), Box("box")
    stuck.gate.clear()
    await world.start(stuck, box)
    jobs = [await world.ended() for _ in range(5)]
    await world.until(lambda: len(box.sent) == 5)
    await world.until(lambda: stuck.now == QUICK.max_parallel)
    outbox = world.outbox
    assert outbox is not None
    await world.until(lambda: outbox.pending == {("exporter", "stuck"): 5})
    assert world.metrics.gauge().values == {("exporter", "stuck"): 5}
    stuck.gate.set()
    for job in jobs:
        await world.settled(job)
    assert stuck.most == QUICK.max_parallel
    await world.until(lambda: outbox.pending == {})


async def test_an_exporter_that_cannot_say_what_it_is_owed_is_owed_nothing(world: World):
    class Broken(Box):
        def events(self, before: JobRecord | None, after: JobRecord) -> Sequence[str]:
            return [str(1 // 0)]

    await world.start(Broken(), Box("other"))
    job = await world.settled(await world.ended())
    assert [export.name for export in job.progress.outbox] == ["other"]


async def test_news_of_one_job_arrive_in_order_and_are_not_shown(world: World):
    news = News(faults=[OSError("down")])
    await world.start(news)
    job = await world.store.add(a_job())
    await world.report(job, "running")
    await world.report(job, "completed")
    done = await world.settled(job)
    assert news.sent == [(job.id, state) for state in ("pending", "running", "completed")]
    assert not any(export.requested for export in done.progress.outbox)


async def test_a_result_that_replaces_a_failure_is_exported_again(world: World):
    box = Box()
    await world.start(box)
    job = await world.store.add(a_job())
    gone = transitions.Exit(code=1)
    await world.store.update(job.id, None, lambda job: transitions.exited(job, 0, gone, "", NOW))
    await world.settled(job)
    await world.report(job, "completed")
    done = await world.settled(job)
    assert [state for _, state in box.sent] == ["failed", "completed"]
    assert done.progress.outbox[0].revision == 2


async def test_a_change_during_an_attempt_is_exported_after_it(world: World):
    box = Box()
    box.gate.clear()
    await world.start(box)
    job = await world.store.add(a_job())
    gone = transitions.Exit(code=1)
    await world.store.update(job.id, None, lambda job: transitions.exited(job, 0, gone, "", NOW))
    await world.until(lambda: box.now)
    await world.report(job, "completed")
    box.gate.set()
    await world.settled(job)
    assert [state for _, state in box.sent] == ["failed", "completed"]


@pytest.mark.parametrize("stage", ["trying", "pausing"])
async def test_a_job_that_is_being_deleted_is_not_exported(stage: str):
    world = World(settings=FinalizerSettings(retry_most=Timespan(600)))
    box = Box(faults=[OSError("down")] * 9)
    if stage == "trying":
        box.gate.clear()
    await world.start(box)
    job = await world.ended()
    await world.until(lambda: box.now or world.attempts)
    await world.store.update(job.id, None, without_pending_exports, with_exports=False)
    assert world.outbox is not None
    await world.until(lambda: not world.outbox.pending)  # pyright: ignore[reportOptionalMemberAccess]
    assert box.cancelled == (stage == "trying")
    await world.store.delete(job, None)
    assert box.sent == []
    await world.close()


async def test_a_job_that_is_deleted_under_an_attempt_ends_the_attempt(world: World):
    box = Box()
    box.gate.clear()
    await world.start(box)
    job = await world.ended()
    await world.until(lambda: box.now)
    await world.store.delete(job, None)
    await world.until(lambda: box.cancelled)
    assert world.outbox is not None
    assert world.outbox.pending == {}


async def test_what_is_owed_survives_a_restart_and_is_then_exported_once(tmp_path: Path):
    before = World(SqliteStorage(tmp_path / "jobs.db"))
    await before.storage.open()
    box = Box(faults=[OSError("down")])
    await before.start(box)
    box.gate.clear()
    job = await before.ended()
    await before.until(lambda: box.now)
    await before.close()
    await before.storage.close()
    assert box.sent == []

    after = World(SqliteStorage(tmp_path / "jobs.db"))
    await after.storage.open()
    await after.start()
    assert (await after.store.get(job.id, None)).open, "its exporter is not selected, so it stays pending"
    await after.close()
    await after.start(box)
    box.gate.set()
    done = await after.settled(job)
    assert box.sent == [(job.id, "completed")]
    assert done.progress.outbox[0].state == "succeeded"
    await after.close()
    await after.storage.close()


async def test_what_waits_for_a_plugin_that_is_not_selected_is_said_once_at_start():
    world = World(settings=FinalizerSettings(retry_most=Timespan(600)))
    await world.start(Box(faults=[OSError("down")] * 100))
    for _ in range(3):
        await world.ended()
    await world.until(lambda: len(world.attempts) == 3)
    await world.close()
    with capture_logs() as lines:
        await world.start(Box("other"))
        job = await world.settled(await world.ended())
    warnings = [line for line in lines if line["log_level"] == "warning"]
    assert [(line["name"], line["count"]) for line in warnings] == [("box", 3)]
    assert [export.name for export in job.progress.outbox] == ["other"]
    await world.close()


def test_attempts_go_on_for_about_a_week():
    settings = FinalizerSettings()
    delays = (retry_backoff(settings).delay_s(attempts, 0.5) for attempts in range(1, settings.max_attempts))
    assert 6 < sum(delays) / 86400 < 8


@pytest.mark.parametrize(
    ("attempts", "chance", "expected_s"),
    [(1, 0.0, 0.5), (1, 1.0, 1), (4, 0.0, 4), (4, 1.0, 8), (10**6, 1.0, 60)],
)
def test_pauses_grow_up_to_the_most_and_spread(attempts: int, chance: float, expected_s: float):
    settings = FinalizerSettings(retry_most=Timespan(60))
    assert math.isclose(retry_backoff(settings).delay_s(attempts, chance), expected_s)


async def test_a_refusal_that_may_be_undone_is_retried_for_its_time():
    world = World()
    box = Box(faults=[ExportRefused("deleted", retry_for_s=3600)] * 3)
    await world.start(box)
    job = await world.settled(await world.ended())
    assert job.progress.outbox[0].state == "succeeded"
    box.faults = [ExportRefused("deleted", retry_for_s=0.001)] * 100
    job = await world.settled(await world.ended())
    assert (job.progress.outbox[0].state, job.progress.outbox[0].error) == ("failed", "deleted")
    await world.close()


async def test_a_retry_sends_failed_exports_again_and_ends_a_pause():
    world = World(settings=FinalizerSettings(retry_most=Timespan(600)))
    box, other = Box(faults=[ExportRefused("no")]), Box("other", faults=[OSError("down")])
    await world.start(box, other)
    job = await world.ended()
    await world.until(lambda: len(world.attempts) == 2)
    await world.until(lambda: world.outbox and world.outbox.pending == {("exporter", "other"): 1})
    await world.store.update(job.id, None, lambda job: retried(job, lambda *_: True), with_exports=False)
    done = await world.settled(job)
    assert [entry.state for entry in done.progress.outbox] == ["succeeded", "succeeded"]
    await world.close()


async def test_an_outbox_that_is_closed_sends_what_became_pending_at_its_next_start(world: World):
    box = Box()
    await world.start(box)
    assert world.outbox is not None
    await world.outbox.close()
    job = await world.ended()
    assert world.outbox.pending == {}
    assert box.sent == []
    await world.outbox.start()
    await world.settled(job)
    assert len(box.sent) == 1
