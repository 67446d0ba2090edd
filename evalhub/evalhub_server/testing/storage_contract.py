"""Contract tests for storages.

A plugin author subclasses :class:`StorageContract` in a test module and defines how the storage is created::

    class TestMyStorage(StorageContract):
        def make_storage(self, directory: Path) -> Storage:
            return MyStorage(directory / "jobs")

Every test gets a new storage, opened and closed by the fixture ``storage``, which may be overridden instead; a second storage
in the same directory is the same database after a restart, also in another process. Requires pytest and pytest-asyncio (in any
mode).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from evalhub_server.domain.record import (
    BenchmarkRecord,
    Exit,
    ExportOutcome,
    JobRecord,
    OutboxEntry,
    with_changes,
)
from evalhub_server.errors import AlreadyExists, NotFound
from evalhub_server.models.common import State
from evalhub_server.plugins.storage import JobChange, JobQuery, Storage
from evalhub_server.testing.builders import EPOCH, a_job, any_of
from evalhub_server.testing.every_field_contract import EveryFieldContract
from evalhub_server.testing.job_list_contract import JobListContract, ids, say, stored
from evalhub_server.testing.resource_contract import ResourceContract
from evalhub_server.testing.resource_list_contract import ResourceListContract
from evalhub_server.testing.storage_reference_contract import StorageReferenceContract
from evalhub_server.testing.storage_value_contract import StorageValueContract


def count_up(job: JobRecord) -> JobRecord:
    """Add one to the attempt of the job's first benchmark; a lost update shows in the sum."""
    first, *others = job.benchmarks
    first = msgspec.structs.replace(first, attempt=first.attempt + 1)
    return with_changes(job, benchmarks=(first, *others))


@pytest.mark.asyncio
class StorageContract(
    JobListContract,
    EveryFieldContract,
    ResourceContract,
    ResourceListContract,
    StorageValueContract,
    StorageReferenceContract,
):
    """Subclass it under a name that pytest collects (``Test…``) and define :meth:`make_storage`."""

    @pytest_asyncio.fixture
    async def storage(self, tmp_path: Path) -> AsyncGenerator[Storage]:
        storage = self.make_storage(tmp_path)
        await self.soon(storage.open())
        yield storage
        await self.soon(storage.close())

    @pytest.fixture(autouse=True)
    def calls_have_a_time_limit(self, request: pytest.FixtureRequest) -> None:
        """Fail a test in which a call does not return; also where a subclass replaces the fixture ``storage``."""
        if "storage" in request.fixturenames:
            self.limit_calls(request.getfixturevalue("storage"), Storage)

    # --- attributes (jobs below; resources in the base classes)

    async def test_it_says_where_and_how_it_keeps_jobs(self, storage: Storage) -> None:
        assert isinstance(storage.durable, bool)
        assert storage.description

    async def test_an_open_storage_is_not_lost(self, storage: Storage) -> None:
        await storage.verify()
        await storage.add_job(a_job())
        await storage.verify()

    async def test_closing_twice_is_closing_once(self, storage: Storage) -> None:
        await storage.close()
        await storage.close()

    # --- add and get

    async def test_a_job_comes_back_as_it_was_added(self, storage: Storage) -> None:
        job = a_job(tenant="team-a", owner="ada", tags=("x", "y"), size=3, experiment_id="17")
        await storage.add_job(job)
        assert await storage.get_job(job.id, None) == job
        assert await storage.get_job(job.id, "team-a") == job

    async def test_an_id_is_taken_once(self, storage: Storage) -> None:
        job = a_job()
        await storage.add_job(job)
        with pytest.raises(AlreadyExists):
            await storage.add_job(a_job(id=job.id, tenant="another", name="impostor"))
        assert await storage.get_job(job.id, None) == job

    async def test_of_many_adds_of_one_id_one_succeeds(self, storage: Storage) -> None:
        jobs = [a_job(id="the-same", name=f"job {number}") for number in range(10)]
        results = await asyncio.gather(*map(storage.add_job, jobs), return_exceptions=True)
        assert [type(result) for result in results].count(AlreadyExists) == 9
        (winner,) = [job for job, result in zip(jobs, results, strict=True) if result is None]
        assert await storage.get_job("the-same", None) == winner

    async def test_a_job_that_was_never_added_is_not_found(self, storage: Storage) -> None:
        with pytest.raises(NotFound):
            await storage.get_job("missing", None)
        with pytest.raises(NotFound):
            await storage.update_job("missing", None, say("hello"))
        with pytest.raises(NotFound):
            await storage.delete_job("missing", None)

    # --- update

    async def test_an_update_returns_and_leaves_the_changed_record(self, storage: Storage) -> None:
        job = a_job(size=2)
        await storage.add_job(job)
        after = await storage.update_job(job.id, None, say("on its way"))
        assert after == say("on its way")(job)
        assert await storage.get_job(job.id, None) == after

    async def test_every_part_of_a_job_can_change(self, storage: Storage) -> None:
        job = a_job(tags=("old",), size=3)
        other = a_job(name="renamed", tags=("new", "newer"), size=5, experiment_id="9")
        changed = with_changes(
            other,
            **{name: getattr(job, name) for name in ("id", "tenant", "owner", "created_at")},
            state=State.FAILED,
            cancelled=True,
            updated_at=EPOCH + timedelta(days=1, microseconds=1),
            outbox=(
                OutboxEntry(
                    kind="tracker",
                    name="t",
                    event="run",
                    since=EPOCH + timedelta(microseconds=1),
                    revision=2,
                    attempts=3,
                    error="no answer",
                    outcome=ExportOutcome(reference="r", digest="d", link="l", details={"a": [1.5, None]}),
                ),
            ),
        )
        await storage.add_job(job)
        await storage.update_job(job.id, None, lambda _: changed)
        assert await storage.get_job(job.id, None) == changed
        assert await ids(storage, JobQuery(tags=any_of("old"))) == []
        assert await ids(storage, JobQuery(tags=any_of("newer"), name=any_of("renamed"))) == [job.id]
        assert await ids(storage, JobQuery(experiment_id=any_of("9"), status=any_of("failed"))) == [job.id]

    @pytest.mark.parametrize("nothing", [None, "the same"])
    async def test_a_change_of_nothing_returns_the_record(
        self, storage: Storage, nothing: str | None
    ) -> None:
        job = a_job()
        await storage.add_job(job)
        assert await storage.update_job(job.id, None, lambda now: now if nothing else None) == job
        assert await storage.get_job(job.id, None) == job

    async def test_what_a_change_raises_is_raised_and_nothing_is_written(self, storage: Storage) -> None:
        def refuse(job: JobRecord) -> JobRecord:
            raise LookupError(f"no benchmark 7 in {job.id}")

        job = a_job()
        await storage.add_job(job)
        with pytest.raises(LookupError, match=f"no benchmark 7 in {job.id}"):
            await storage.update_job(job.id, None, refuse)
        assert await storage.get_job(job.id, None) == job
        after = await storage.update_job(job.id, None, say("next"))
        assert after == say("next")(job), "an update after one that raised"

    async def test_a_change_is_called_once_with_the_current_record(self, storage: Storage) -> None:
        seen: list[JobRecord] = []
        job = a_job()
        await storage.add_job(job)
        current = await storage.update_job(job.id, None, say("first"))
        await storage.update_job(job.id, None, seen.append)
        assert seen == [current]

    async def test_a_change_runs_on_the_event_loop(self, storage: Storage) -> None:
        loops: list[asyncio.AbstractEventLoop] = []
        job = a_job()
        await storage.add_job(job)
        await storage.update_job(job.id, None, lambda _: loops.append(asyncio.get_running_loop()))
        assert loops == [asyncio.get_running_loop()]

    # --- concurrency and cancellation

    async def test_of_a_hundred_updates_at_once_none_is_lost(self, storage: Storage) -> None:
        job = a_job()
        await storage.add_job(job)
        await asyncio.gather(*(storage.update_job(job.id, None, count_up) for _ in range(100)))
        assert (await storage.get_job(job.id, None)).benchmarks[0].attempt == 101

    async def test_one_that_fails_among_many_fails_alone(self, storage: Storage) -> None:
        def fail(job: JobRecord) -> JobRecord:
            raise ValueError("not this one")

        job = a_job()
        await storage.add_job(job)
        changes = [fail if number % 10 == 3 else count_up for number in range(50)]
        results = await asyncio.gather(
            *(storage.update_job(job.id, None, change) for change in changes),
            storage.update_job("missing", None, count_up),
            return_exceptions=True,
        )
        assert [isinstance(result, Exception) for result in results] == [
            change is fail for change in changes
        ] + [True]
        assert (await storage.get_job(job.id, None)).benchmarks[0].attempt == 46

    async def test_updates_of_one_job_keep_their_order(self, storage: Storage) -> None:
        job = a_job()
        await storage.add_job(job)

        def append(number: int) -> JobChange:
            return lambda now: say(f"{now.progress.message.message},{number}")(now)

        await asyncio.gather(*(storage.update_job(job.id, None, append(number)) for number in range(20)))
        text = (await storage.get_job(job.id, None)).progress.message.message
        assert text == ",".join([job.progress.message.message, *map(str, range(20))])

    async def test_add_update_and_delete_at_once_happen_one_after_the_other(self, storage: Storage) -> None:
        job = a_job()
        again = a_job(id=job.id, name="again", tags=("second",))
        results = await asyncio.gather(
            storage.add_job(job),
            storage.update_job(job.id, None, say("hello")),
            storage.delete_job(job.id, None),
            storage.update_job(job.id, None, say("too late")),
            storage.add_job(again),
            return_exceptions=True,
        )
        assert [type(result) for result in results] == [
            type(None),
            JobRecord,
            type(None),
            NotFound,
            type(None),
        ]
        assert await storage.get_job(job.id, None) == again
        assert await ids(storage, JobQuery(tags=any_of("second"))) == [job.id]

    async def test_a_cancelled_caller_neither_halves_a_write_nor_undoes_another(
        self, storage: Storage
    ) -> None:
        chance = random.Random(7)  # noqa: S311 - the same run every time
        jobs = await stored(storage, [a_job(size=2) for _ in range(5)])
        started = {job.id: 0 for job in jobs}
        acknowledged = {job.id: 0 for job in jobs}

        def both(job: JobRecord) -> JobRecord:
            # Two rows that belong together: either both count or none does.
            benchmarks = tuple(
                msgspec.structs.replace(each, attempt=each.attempt + 1) for each in job.benchmarks
            )
            return with_changes(job, benchmarks=benchmarks)

        async def update(job_id: str) -> None:
            started[job_id] += 1
            await storage.update_job(job_id, None, both)
            acknowledged[job_id] += 1

        for _ in range(40):
            tasks = [asyncio.create_task(update(chance.choice(jobs).id)) for _ in range(10)]
            for _ in range(chance.randrange(4)):
                await asyncio.sleep(0)
            for task in chance.sample(tasks, 4):
                task.cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, AssertionError):
                    raise result
        for job in jobs:
            first, second = [each.attempt for each in (await storage.get_job(job.id, None)).benchmarks]
            assert first == second
            assert acknowledged[job.id] <= first - 1 <= started[job.id]

    # --- delete

    async def test_a_deleted_job_is_gone_from_everywhere(self, storage: Storage) -> None:
        job, other = await stored(storage, [a_job(tags=("x",)), a_job(tags=("x",))])
        await storage.delete_job(job.id, None)
        with pytest.raises(NotFound):
            await storage.get_job(job.id, None)
        with pytest.raises(NotFound):
            await storage.delete_job(job.id, None)
        assert await ids(storage, JobQuery(tags=any_of("x"))) == [other.id]
        assert await storage.open_jobs() == [other]

    # --- tenants

    async def test_a_job_of_another_tenant_is_as_good_as_absent(self, storage: Storage) -> None:
        job = a_job(tenant="team-a")
        await storage.add_job(job)
        for stranger in ("team-b", ""):
            with pytest.raises(NotFound):
                await storage.get_job(job.id, stranger)
            with pytest.raises(NotFound):
                await storage.update_job(job.id, stranger, say("mine now"))
            with pytest.raises(NotFound):
                await storage.delete_job(job.id, stranger)
            assert await ids(storage, JobQuery(tenant=stranger)) == []
        assert await storage.get_job(job.id, "team-a") == job

    async def test_a_list_is_of_one_tenant_or_of_all(self, storage: Storage) -> None:
        a, b, without = await stored(storage, [a_job(tenant="team-a"), a_job(tenant="team-b"), a_job()])
        assert await ids(storage, JobQuery(tenant="team-a")) == [a.id]
        assert await ids(storage, JobQuery(tenant="")) == [without.id]
        assert await ids(storage, JobQuery()) == [without.id, b.id, a.id]

    # --- open jobs

    async def test_open_jobs_are_those_with_something_left_to_do_oldest_first(self, storage: Storage) -> None:
        running = BenchmarkRecord(index=0, state=State.COMPLETED, launched_at=EPOCH)
        ended = msgspec.structs.replace(running, exit=Exit(code=0))
        pending = OutboxEntry(kind="exporter", name="e", event="card", since=EPOCH)
        sent = msgspec.structs.replace(pending, state="succeeded")
        jobs = [
            a_job(tenant="a", state=State.RUNNING),
            a_job(tenant="b"),
            a_job(state=State.COMPLETED),
            a_job(state=State.CANCELLED, benchmarks=(running,)),
            a_job(state=State.CANCELLED, benchmarks=(ended,)),
            a_job(state=State.COMPLETED, outbox=(sent, pending)),
            a_job(state=State.COMPLETED, outbox=(sent,)),
        ]
        await stored(storage, list(reversed(jobs)))
        assert await storage.open_jobs() == [jobs[0], jobs[1], jobs[3], jobs[5]]
        await storage.update_job(jobs[3].id, None, lambda job: with_changes(job, benchmarks=(ended,)))
        await storage.update_job(jobs[0].id, None, lambda job: with_changes(job, state=State.FAILED))
        await storage.update_job(jobs[5].id, None, lambda job: with_changes(job, outbox=(sent, sent)))
        assert await storage.open_jobs() == [jobs[1]]
