"""A good storage in one file, as short as possible: what the mutants of a storage derive from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from evalhub_server.plugins import (
    AnyResource,
    BaselineRecord,
    CollectionRecord,
    JobChange,
    JobRecord,
    Kind,
    ProviderRecord,
    ResourceChange,
    kind_of,
)
from evalhub_server.testing import MemoryStorage


class Entry(Struct, kw_only=True, omit_defaults=True):
    """One line: what a write has changed. ``system``: all other resources of the system are deleted first."""

    jobs: list[JobRecord] = []
    gone_jobs: list[str] = []
    providers: list[ProviderRecord] = []
    collections: list[CollectionRecord] = []
    baselines: list[BaselineRecord] = []
    gone_resources: list[tuple[Kind, str]] = []
    system: bool = False


class FileStorage(MemoryStorage):
    """Appends a line for each write, and reads them when it is opened. A line without an end was not acknowledged."""

    durable = True

    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.path = directory / "records.jsonl"
        self.description = str(self.path)
        self.file: BinaryIO | None = None

    async def open(self) -> None:
        self._jobs.clear()
        self._resources.clear()
        self.path.touch()
        content = self.path.read_bytes()
        for line in content.splitlines(keepends=True):
            if line.endswith(b"\n"):
                self.replay(msgspec.json.decode(line, type=Entry))
        with self.path.open("r+b") as file:
            file.truncate(content.rfind(b"\n") + 1)
        self.file = self.path.open("ab", buffering=0)

    async def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None

    def replay(self, entry: Entry) -> None:
        self._jobs |= {job.id: job for job in entry.jobs}
        for job_id in entry.gone_jobs:
            del self._jobs[job_id]
        if entry.system:
            self._resources = {key: each for key, each in self._resources.items() if not each.system}
        for record in (*entry.providers, *entry.collections, *entry.baselines):
            self._resources[kind_of(record), record.id] = record
        for key in entry.gone_resources:
            del self._resources[key]

    def write(self, entry: Entry) -> None:
        assert self.file is not None
        self.file.write(msgspec.json.encode(entry) + b"\n")

    def write_resources(self, records: Sequence[AnyResource], *, system: bool = False) -> None:
        self.write(
            Entry(
                providers=[each for each in records if isinstance(each, ProviderRecord)],
                collections=[each for each in records if isinstance(each, CollectionRecord)],
                baselines=[each for each in records if isinstance(each, BaselineRecord)],
                system=system,
            )
        )

    async def add_job(self, record: JobRecord) -> None:
        await super().add_job(record)
        self.write(Entry(jobs=[record]))

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        before = await super().get_job(job_id, tenant)
        after = await super().update_job(job_id, tenant, change)
        if after is not before:
            self.write(Entry(jobs=[after]))
        return after

    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        await super().delete_job(job_id, tenant)
        self.write(Entry(gone_jobs=[job_id]))

    async def add_resource(self, record: AnyResource) -> None:
        await super().add_resource(record)
        self.write_resources([record])

    async def update_resource(
        self, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
    ) -> AnyResource:
        before = await super().get_resource(kind, resource_id, tenant)
        after = await super().update_resource(kind, resource_id, tenant, change)
        if after is not before:
            self.write_resources([after])
        return after

    async def delete_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> None:
        await super().delete_resource(kind, resource_id, tenant)
        self.write(Entry(gone_resources=[(kind, resource_id)]))

    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        await super().replace_system(records)
        self.write_resources([each for each in self._resources.values() if each.system], system=True)
