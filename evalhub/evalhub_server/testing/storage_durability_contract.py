"""Contract tests for what survives a restart and a crash, and for records that are refused; a part of ``StorageContract``."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.domain.resource import AnyResource, Kind
from evalhub_server.errors import NotFound, StartupError, StorageError
from evalhub_server.models.job import JobTest
from evalhub_server.plugins.storage import JobQuery, ResourceQuery, Storage
from evalhub_server.testing.builders import EPOCH, a_collection, a_finished_job, a_job, a_provider
from evalhub_server.testing.contract import Contract, takes_seconds
from evalhub_server.testing.every_field_contract import versions_of_job, versions_of_resources
from evalhub_server.testing.other_process import other_process

ACKNOWLEDGED = 150
"""Writes after which the writing process is killed."""

IDENTITY: dict[str, Any] = {
    "id": "another id",
    "tenant": "another tenant",
    "owner": "another owner",
    "created_at": EPOCH - timedelta(days=1),
}


@pytest.mark.asyncio
class StorageDurabilityContract(Contract):
    """A base class of ``StorageContract``, which provides the fixture."""

    def make_storage(self, directory: Path) -> Storage:
        """Return a storage in ``directory``, not yet open. A second call stands for a restart of the server."""
        raise NotImplementedError("return the storage, or override the fixture 'storage'")

    def skip_unless_durable(self, storage: Storage) -> None:
        if not storage.durable:
            pytest.skip("durable = False: its records end with the process")

    @asynccontextmanager
    async def restarted(self, storage: Storage, directory: Path) -> AsyncGenerator[Storage]:
        """Close the storage and open another one over the same database."""
        await self.soon(storage.close())
        again = self.make_storage(directory)
        await self.soon(again.open())
        try:
            yield again
        finally:
            await self.soon(again.close())

    # --- restarts

    async def test_records_survive_a_restart(self, storage: Storage, tmp_path: Path) -> None:
        self.skip_unless_durable(storage)
        stays, changes, goes = a_job(tags=("x",)), a_job(), a_job()
        provider, system = a_provider(tenant="team-a"), a_collection(owner="system")
        for job in (stays, changes, goes):
            await storage.add_job(job)
        changed = await storage.update_job(changes.id, None, lambda job: with_changes(job, pinned=True))
        await storage.delete_job(goes.id, None)
        deleted, edited = a_provider(), a_provider(tenant="team-b")
        for record in (deleted, provider, edited):
            await storage.add_resource(record)
        await storage.delete_resource(Kind.PROVIDER, deleted.id, None)
        renamed = await storage.update_resource(Kind.PROVIDER, edited.id, None, _renamed)
        await storage.replace_system([system])
        async with self.restarted(storage, tmp_path) as again:
            page = await again.list_jobs(JobQuery())
            assert page.items == [changed, stays], f"jobs after a restart: {_names(page.items)}"
            assert page.total_count == 2, "number of jobs after a restart"
            assert await again.open_jobs() == [stays, changed], "open jobs after a restart"
            for kind, records in ((Kind.PROVIDER, [renamed, provider]), (Kind.COLLECTION, [system])):
                found = (await again.list_resources(ResourceQuery(kind=kind))).items
                assert found == records, f"{kind}s after a restart: {_names(found)}"
            with pytest.raises(NotFound):
                await again.get_job(goes.id, None)

    async def test_every_field_survives_a_restart(self, storage: Storage, tmp_path: Path) -> None:
        self.skip_unless_durable(storage)
        jobs = [with_changes(job, id=f"job {n}") for n, job in enumerate(versions_of_job())]
        resources = [
            (kind, msgspec.structs.replace(record, id=f"{kind} {n}"))
            for n, (kind, record) in enumerate(versions_of_resources())
        ]
        for job in jobs:
            await storage.add_job(job)
        for _, record in resources:
            await storage.add_resource(record)
        async with self.restarted(storage, tmp_path) as again:
            for job in jobs:
                found = await again.get_job(job.id, None)
                assert found == job, f"a job differs after a restart: {differences(job, found)}"
            for kind, record in resources:
                kept = await again.get_resource(kind, record.id, None)
                assert kept == record, f"a {kind} differs after a restart: {differences(record, kept)}"

    @takes_seconds
    async def test_acknowledged_writes_survive_a_kill(self, storage: Storage, tmp_path: Path) -> None:
        """A process that writes is killed; what it was told is stored is there, and nothing is half written."""
        self.skip_unless_durable(storage)
        await self.soon(storage.close())
        with other_process(self, tmp_path, "write") as process:
            lines = [await self.soon(asyncio.to_thread(process.output.readline)) for _ in range(ACKNOWLEDGED)]
            assert lines[-1], "the other process failed; see its error above"
            process.kill()
            lines += await self.soon(asyncio.to_thread(process.output.readlines))
        acknowledged: dict[str, int] = {}
        for line in lines:
            if line.endswith(b"\n"):
                job_id, number = line.decode().split()
                acknowledged[job_id] = max(acknowledged.get(job_id, 0), int(number))
        again = self.make_storage(tmp_path)
        await self.until(lambda: _opened(again), "the database of a killed process can be opened")
        try:
            for job_id, number in acknowledged.items():
                try:
                    job = await self.soon(again.get_job(job_id, None))
                except NotFound:
                    raise AssertionError(f"job {job_id} was acknowledged and is lost after a kill") from None
                attempts = [each.attempt for each in job.benchmarks]
                assert len(set(attempts)) == 1, f"half a write is stored after a kill: attempts {attempts}"
                assert attempts[0] >= number, f"change {number} was acknowledged; stored is {attempts[0]}"
            page = await self.soon(again.list_jobs(JobQuery(limit=10**6)))
            ids = [job.id for job in page.items]
            assert len(set(ids)) == len(ids) == page.total_count, "a list after a kill"
            assert set(acknowledged) <= set(ids), "acknowledged jobs are not in a list after a kill"
            await self.soon(again.add_job(a_job(id="after the kill")))
        finally:
            await self.soon(again.close())

    # --- records that are refused

    @pytest.mark.parametrize("field", IDENTITY)
    async def test_a_change_of_what_identifies_a_record_is_refused(
        self, storage: Storage, field: str
    ) -> None:
        job, provider = a_job(tenant="team-a", owner="ada"), a_provider(tenant="team-a", owner="ada")
        await storage.add_job(job)
        await storage.add_resource(provider)
        value = IDENTITY[field]
        changed = with_changes(job, **{field: value})
        await self.check_refused(storage, job, changed, f"a change of a job's {field}")

        def change(record: AnyResource) -> AnyResource:
            return msgspec.structs.replace(record, **{field: value})

        with pytest.raises(StorageError):
            await storage.update_resource(Kind.PROVIDER, provider.id, None, change)
        assert await storage.get_resource(Kind.PROVIDER, provider.id, None) == provider

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    async def test_numbers_that_json_does_not_have_are_refused(self, storage: Storage, number: float) -> None:
        test = JobTest(score=number, threshold=0.5, passed=False)
        job = a_finished_job()
        await storage.add_job(job)
        await self.check_refused(
            storage, job, with_changes(job, test=test), f"a change to the score {number}"
        )
        refused = with_changes(a_job(), test=test)
        try:
            await self.soon(storage.add_job(refused))
        except StorageError:
            with pytest.raises(NotFound):
                await storage.get_job(refused.id, None)
        else:
            raise AssertionError(f"a new job with the score {number} was stored")

    async def check_refused(self, storage: Storage, job: JobRecord, changed: JobRecord, what: str) -> None:
        """Fail if a change is not refused, or not without effect."""
        (result,) = await asyncio.gather(
            self.soon(storage.update_job(job.id, None, lambda _: changed)), return_exceptions=True
        )
        assert isinstance(result, StorageError), (
            f"{what}: update_job() must raise StorageError, not {result!r}"
        )
        assert str(result), f"{what}: StorageError has no text"
        assert await self.soon(storage.get_job(job.id, None)) == job, f"{what} was refused and has an effect"
        assert (await self.soon(storage.list_jobs(JobQuery()))).items == [job], f"{what}: the list of jobs"


async def _opened(storage: Storage) -> bool:
    """Open a database; the lock of a killed process may be held for a moment."""
    try:
        await storage.open()
    except StartupError:
        return False
    return True


def _renamed(record: AnyResource) -> AnyResource:
    return msgspec.structs.replace(record, config=msgspec.structs.replace(record.config, name="renamed"))


def _names(records: list[Any]) -> list[str]:
    return [record.id for record in records]


def differences(expected: Any, found: Any, path: str = "") -> dict[str, tuple[Any, Any]]:
    """Return the fields that differ, by path: the expected and the found value."""
    if isinstance(expected, msgspec.Struct) and type(expected) is type(found):
        names = expected.__struct_fields__
        parts = [(f"{path}.{name}", getattr(expected, name), getattr(found, name)) for name in names]
    elif isinstance(expected, tuple) and isinstance(found, tuple) and len(expected) == len(found):  # pyright: ignore[reportUnknownArgumentType]
        pairs: list[tuple[Any, Any]] = list(zip(expected, found, strict=True))  # pyright: ignore[reportUnknownArgumentType]
        parts = [(f"{path}[{n}]", *pair) for n, pair in enumerate(pairs)]
    else:
        return {} if expected == found else {path.removeprefix("."): (expected, found)}
    return {key: pair for part in parts for key, pair in differences(part[1], part[2], part[0]).items()}
