"""Storages that change values, mix up ids or fail halfway, and their test classes."""

from __future__ import annotations

import asyncio
import unicodedata
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, cast

import msgspec

from evalhub_server.errors import AlreadyExists, StorageError
from evalhub_server.plugins import (
    AnyResource,
    JobChange,
    JobPage,
    JobQuery,
    JobRecord,
    Kind,
    ResourceChange,
    kind_of,
)
from harness.mutants import Mutants
from harness.mutants.file_storage import Entry, FileStorage
from harness.mutants.storage_cases import StorageCase

STORAGE_VALUES = Mutants()
breaks = STORAGE_VALUES.breaks
replace = msgspec.structs.replace


def mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    """Return a record with its texts, numbers and times changed."""
    if isinstance(value, msgspec.Struct):
        fields = {name: mapped(getattr(value, name), change) for name in value.__struct_fields__}
        return replace(value, **fields)
    if isinstance(value, dict):
        return {key: mapped(each, change) for key, each in cast("dict[str, Any]", value).items()}
    if isinstance(value, tuple):
        return tuple(mapped(each, change) for each in cast("tuple[Any, ...]", value))
    if isinstance(value, list):
        return [mapped(each, change) for each in cast("list[Any]", value)]
    return change(value)


class Changing(FileStorage):
    """Writes and keeps what ``changed`` returns for each text, number and time."""

    def changed(self, value: Any) -> Any:
        raise NotImplementedError

    async def add_job(self, record: JobRecord) -> None:
        await super().add_job(mapped(record, self.changed))

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        def other(now: JobRecord) -> JobRecord | None:
            after = change(now)
            return after if after is None or after is now else mapped(after, self.changed)

        return await super().update_job(job_id, tenant, other)

    async def add_resource(self, record: AnyResource) -> None:
        await super().add_resource(mapped(record, self.changed))

    async def update_resource(
        self, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
    ) -> AnyResource:
        def other(now: AnyResource) -> AnyResource | None:
            after = change(now)
            return after if after is None or after is now else mapped(after, self.changed)

        return await super().update_resource(kind, resource_id, tenant, other)


VALUES = "values_are_kept_exactly"


@breaks(VALUES, "a text with combining characters in a job is not kept")
class NormalisesText(Changing):
    def changed(self, value: Any) -> Any:
        return unicodedata.normalize("NFC", value) if type(value) is str else value


@breaks(VALUES, "a text with white space at its ends in a job is not kept")
class StripsText(Changing):
    def changed(self, value: Any) -> Any:
        return value.strip(" ") if type(value) is str else value


@breaks(VALUES, "a long text in a job is not kept")
class CutsText(Changing):
    def changed(self, value: Any) -> Any:
        return value[:65_535] if type(value) is str else value


@breaks(VALUES, "an empty text in a job is not kept")
class EmptyTextIsNone(Changing):
    def changed(self, value: Any) -> Any:
        return value

    def write(self, entry: Entry) -> None:
        jobs = [
            replace(
                job,
                definition=replace(
                    job.definition, request=replace(job.request, description=job.request.description or None)
                ),
            )
            for job in entry.jobs
        ]
        super().write(replace(entry, jobs=jobs))


@breaks(VALUES, "a number with all of its digits in a job is not kept")
class RoundsNumbers(Changing):
    def changed(self, value: Any) -> Any:
        return round(value, 6) if type(value) is float else value


@breaks(VALUES, "a number with all of its digits in a job is not kept")
class SinglePrecision(Changing):
    def changed(self, value: Any) -> Any:
        import struct

        return (
            struct.unpack("f", struct.pack("f", value))[0]
            if type(value) is float and abs(value) < 1e30
            else value
        )


@breaks(VALUES, "integers above 2**53 in a job is not kept")
class IntegersAsFloats(Changing):
    def changed(self, value: Any) -> Any:
        return int(float(value)) if type(value) is int else value


@breaks("a_job_comes_back_as_it_was_added", "test_a_job_comes_back")
class LosesTheTimeZone(Changing):
    def changed(self, value: Any) -> Any:
        return value.replace(tzinfo=None) if type(value) is datetime else value


@breaks("ids_are_compared_literally", "is taken for another one of")
class IdsIgnoreCase(FileStorage):
    async def add_job(self, record: JobRecord) -> None:
        if record.id.lower() in map(str.lower, self._jobs):
            raise AlreadyExists(record.id)
        await super().add_job(record)


@breaks("ids_are_compared_literally", "is taken for another one of")
class ResourceIdsIgnoreCase(FileStorage):
    async def add_resource(self, record: AnyResource) -> None:
        if (kind_of(record), record.id.lower()) in {(kind, each.lower()) for kind, each in self._resources}:
            raise AlreadyExists(record.id)
        await super().add_resource(record)


@breaks("ids_are_unique_across_tenants", "with the id of another tenant's: it must raise AlreadyExists")
class IdsPerTenant(FileStorage):
    async def add_resource(self, record: AnyResource) -> None:
        known = self._resources.get((kind_of(record), record.id))
        if known is not None and known.tenant != record.tenant:
            del self._resources[kind_of(record), record.id]
        await super().add_resource(record)


@breaks("a_refused_record_does_not_take_its_id", "the id of a job that was refused is taken")
class ClaimsIdsOfRefusedRecords(FileStorage):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.claimed: set[str] = set()

    async def add_job(self, record: JobRecord) -> None:
        if record.id in self.claimed and record.id not in self._jobs:
            raise AlreadyExists(record.id)
        self.claimed.add(record.id)
        await super().add_job(record)

    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        await super().delete_job(job_id, tenant)
        self.claimed.discard(job_id)


@breaks("a_refused_replacement_changes_nothing", "a refused replacement changed")
class ReplacesUpToTheFirstFault(FileStorage):
    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        good: list[AnyResource] = []
        for record in records:
            try:
                msgspec.json.decode(msgspec.json.encode(record), type=type(record))
            except msgspec.ValidationError as error:
                await super().replace_system(good)
                raise StorageError(str(error)) from error
            good.append(record)
        await super().replace_system(good)


@breaks(
    "resources_with_numbers_that_json_does_not_have_are_refused",
    "with the weight nan: it must raise StorageError",
)
class StoresNoNumbersOfResources(FileStorage):
    async def add_resource(self, record: AnyResource) -> None:
        if (kind_of(record), record.id) in self._resources:
            raise AlreadyExists(record.id)
        self._resources[kind_of(record), record.id] = record
        self.write_resources([record])


@breaks("a_list_belongs_to_its_caller", "after a caller had changed the earlier ones")
class ReturnsItsOwnList(FileStorage):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.page: tuple[JobQuery, JobPage] | None = None

    def write(self, entry: Entry) -> None:
        super().write(entry)
        self.page = None

    async def list_jobs(self, query: JobQuery) -> JobPage:
        if self.page is None or self.page[0] != query:
            self.page = query, await super().list_jobs(query)
        return self.page[1]


@breaks("what_a_change_raises_is_raised_and_nothing_is_written", "did not return within", deadline_s=2.0)
class KeepsTheLockAfterAnError(FileStorage):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lock = asyncio.Lock()

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        await self.lock.acquire()
        job = await super().update_job(job_id, tenant, change)
        self.lock.release()
        return job


@breaks(
    "a_cancelled_caller_neither_halves_a_write_nor_undoes_another", "did not return within", deadline_s=2.0
)
class KeepsTheLockAfterACancel(FileStorage):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.lock = asyncio.Lock()

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        await self.lock.acquire()
        try:
            await asyncio.sleep(0)
            job = await super().update_job(job_id, tenant, change)
        except Exception:
            self.lock.release()
            raise
        self.lock.release()
        return job


@breaks("writes_that_are_pending_at_the_end_are_finished", "has left writes pending", deadline_s=2.0)
class ForgetsPendingWrites(FileStorage):
    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.queue: list[tuple[JobRecord, asyncio.Future[None]]] = []

    async def add_job(self, record: JobRecord) -> None:
        done = asyncio.get_running_loop().create_future()
        self.queue.append((record, done))
        asyncio.get_running_loop().call_later(0.001, self.flush)
        await done

    def flush(self) -> None:
        queue, self.queue = self.queue, []
        for record, done in queue:
            if self.file is not None and not done.done():
                if record.id in self._jobs:
                    done.set_exception(AlreadyExists(record.id))
                else:
                    self._jobs[record.id] = record
                    self.write(Entry(jobs=[record]))
                    done.set_result(None)


class StorageValueCase(StorageCase):
    """In this module, so that another process finds the classes."""


globals().update(STORAGE_VALUES.cases(StorageValueCase))
