"""Contract tests that a storage keeps every field of every record; a part of ``StorageContract``.

The fields are found through the types, so a field that is added to a record is tested by itself.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from evalhub_server.domain.record import BenchmarkRecord, JobDefinition, JobProgress, JobRecord, with_changes
from evalhub_server.domain.resource import RECORD_TYPES, AnyResource, Kind, merge_system_resource
from evalhub_server.plugins.storage import Storage
from evalhub_server.testing.contract import Contract
from evalhub_server.testing.filled_record import filled, unfilled

_IDENTITY = frozenset({"id", "tenant", "owner", "created_at"})


@pytest.mark.asyncio
class EveryFieldContract(Contract):
    """A base class of ``StorageContract``, which provides the fixture."""

    async def test_every_field_of_a_job_is_kept(self, storage: Storage) -> None:
        job = filled(JobRecord)
        assert not unfilled(job)
        await storage.add_job(job)
        await _check_job(storage, job)
        for changed in _job_changes(job):
            assert await storage.update_job(job.id, None, lambda _, changed=changed: changed) == changed
            await _check_job(storage, changed)

    @pytest.mark.parametrize("kind", Kind)
    async def test_every_field_of_a_resource_is_kept(self, storage: Storage, kind: Kind) -> None:
        record = filled(RECORD_TYPES[kind])
        assert not unfilled(record)
        await storage.add_resource(record)
        await _check_resource(storage, kind, record)
        for changed in _resource_changes(record):
            updated = await storage.update_resource(kind, record.id, None, lambda _, changed=changed: changed)
            assert updated == changed
            await _check_resource(storage, kind, changed)

    @pytest.mark.parametrize("kind", Kind)
    async def test_every_field_of_a_system_resource_is_kept(self, storage: Storage, kind: Kind) -> None:
        first, second = (
            filled(RECORD_TYPES[kind], seed, id="a", owner="system", tenant="") for seed in (0, 1)
        )
        await storage.replace_system([first])
        await _check_resource(storage, kind, first)
        await storage.replace_system([second])
        await _check_resource(storage, kind, merge_system_resource(first, second))


def versions_of_job() -> list[JobRecord]:
    """Return a job without defaults, with each field changed alone, and with all fields at their default."""
    return _job_changes(filled(JobRecord))


def versions_of_resources() -> list[tuple[Kind, AnyResource]]:
    """Return resources of all kinds without defaults, and with each field changed alone."""
    found = [(kind, filled(RECORD_TYPES[kind])) for kind in Kind]
    return [(kind, version) for kind, record in found for version in _resource_changes(record)]


def _job_changes(job: JobRecord) -> list[JobRecord]:
    """Return versions of the job: each field changed alone, all fields as far as possible at their default, and back."""
    other = filled(JobRecord, 1)
    found: list[JobRecord] = []
    parts = ((JobDefinition, other.definition), (JobProgress, other.progress))
    for struct, part in parts:
        for name in struct.__struct_fields__:
            if name not in _IDENTITY:
                found.append(with_changes(job, **{name: getattr(part, name)}))
    first, *others = job.benchmarks
    for name in BenchmarkRecord.__struct_fields__:
        value = getattr(other.benchmarks[0], name)
        found.append(with_changes(job, benchmarks=(msgspec.structs.replace(first, **{name: value}), *others)))
    bare = JobRecord(
        definition=_bare(job.definition),
        progress=_bare(job.progress),
        benchmarks=tuple(_bare(each) for each in job.benchmarks),
    )
    return [*found, bare, with_changes(bare, benchmarks=()), job]


def _resource_changes(record: AnyResource) -> list[AnyResource]:
    other = filled(type(record), 1)
    changed = [
        msgspec.structs.replace(record, **{name: getattr(other, name)})
        for name in record.__struct_fields__
        if name not in _IDENTITY
    ]
    return [*changed, _bare(record), record]


def _bare(part: Any) -> Any:
    """Return the struct with the default of every field that has one and does not identify the record."""
    fields = {
        field.name: getattr(part, field.name)
        for field in msgspec.structs.fields(part)
        if field.required or field.name in _IDENTITY
    }
    return type(part)(**fields)


async def _check_job(storage: Storage, job: JobRecord) -> None:
    assert await storage.get_job(job.id, None) == job
    if storage.durable:
        await storage.close()
        await storage.open()
        assert await storage.get_job(job.id, None) == job


async def _check_resource(storage: Storage, kind: Kind, record: AnyResource) -> None:
    assert await storage.get_resource(kind, record.id, None) == record
    if storage.durable:
        await storage.close()
        await storage.open()
        assert await storage.get_resource(kind, record.id, None) == record
