"""A storage for EvalHub Server: a journal, one file with a line for each record that was written.

All records are in memory, too, which :class:`MemoryStorage` has the queries for. Replace both with a database.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, BinaryIO

import msgspec
from msgspec import Meta, Struct

from evalhub_server.plugins import (
    RECORD_TYPES,
    UNWRITABLE,
    AnyResource,
    Descriptor,
    JobChange,
    JobRecord,
    Kind,
    PluginContext,
    ResourceChange,
    StartupError,
    StorageError,
    check_identity,
    encode,
    hookimpl,
    kind_of,
    unwritable,
)
from evalhub_server.testing import MemoryStorage

TYPES: dict[str, type[Any]] = {
    "job": JobRecord,
    **{kind.value: type_ for kind, type_ in RECORD_TYPES.items()},
}
DELETED = msgspec.Raw(b"null")


class Settings(Struct, kw_only=True, frozen=True):
    """Section ``my-plugin`` of config.yaml. Descriptions are shown by ``eval-hub-server plugins my-plugin``."""

    file: Annotated[str, Meta(description="The journal; by default in the data directory.")] = ""


class Line(Struct, array_like=True):
    """A record that was written, or ``null`` for one that was deleted."""

    kind: str
    id: str
    record: msgspec.Raw = DELETED


class MyPluginStorage(MemoryStorage):
    durable = True

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.description = f"journal {file}"
        self._path = file
        self._journal: BinaryIO | None = None

    async def open(self) -> None:
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._journal = self._path.open("ab+")
            fcntl.flock(self._journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StartupError(
                f"{self._path} is in use by another server. Stop that, or use another file."
            ) from None
        except OSError as error:
            raise StartupError(f"{self._path}: cannot be opened: {error.strerror}.") from error
        self._read()

    def _read(self) -> None:
        assert self._journal is not None
        self._journal.seek(0)
        complete = 0
        for line in self._journal:
            if not line.endswith(b"\n"):
                break  # a write that was not acknowledged
            complete += len(line)
            try:
                entry = msgspec.json.decode(line, type=Line)
                record = msgspec.json.decode(entry.record, type=TYPES[entry.kind] | None)
            except msgspec.DecodeError as error:
                raise StartupError(
                    f"{self._path}, byte {complete}: {error}. Restore a backup of the file."
                ) from error
            self._keep(entry.kind, entry.id, record)
        self._journal.truncate(complete)

    def _keep(self, kind: str, record_id: str, record: Any) -> None:
        records: dict[Any, Any] = self._jobs if kind == "job" else self._resources
        key = record_id if kind == "job" else (Kind(kind), record_id)
        if record is None:
            records.pop(key, None)
        else:
            records[key] = record

    def _write(self, *lines: tuple[str, str, Any]) -> None:
        """Append records. Returns when they are on the disk."""
        if self._journal is None:
            raise StorageError(f"The storage is not open ({self.description}).")
        data = bytearray()
        for kind, record_id, record in lines:
            try:
                raw = DELETED if record is None else _raw(record, TYPES[kind])
            except UNWRITABLE as error:
                raise unwritable(kind, record_id, error) from error
            data += msgspec.json.encode(Line(kind, record_id, raw)) + b"\n"
        end = self._journal.seek(0, os.SEEK_END)
        try:
            self._journal.write(data)
            self._journal.flush()
            os.fsync(self._journal.fileno())
        except OSError as error:
            self._journal.truncate(end)
            raise StorageError(f"{self._path}: cannot be written: {error.strerror}.") from error

    async def close(self) -> None:
        if self._journal is not None:
            self._journal.close()
            self._journal = None

    async def add_job(self, record: JobRecord) -> None:
        if record.id not in self._jobs:
            self._write(("job", record.id, record))
        await super().add_job(record)

    async def update_job(self, job_id: str, tenant: str | None, change: JobChange) -> JobRecord:
        def written(before: JobRecord) -> JobRecord | None:
            after = change(before)
            if after is not None and after is not before:
                check_identity("job", before, after)
                self._write(("job", job_id, after))
            return after

        return await super().update_job(job_id, tenant, written)

    async def delete_job(self, job_id: str, tenant: str | None) -> None:
        await self.get_job(job_id, tenant)
        self._write(("job", job_id, None))
        await super().delete_job(job_id, tenant)

    async def add_resource(self, record: AnyResource) -> None:
        kind = kind_of(record)
        if (kind, record.id) not in self._resources:
            self._write((kind.value, record.id, record))
        await super().add_resource(record)

    async def update_resource(
        self, kind: Kind, resource_id: str, tenant: str | None, change: ResourceChange
    ) -> AnyResource:
        def written(before: AnyResource) -> AnyResource | None:
            after = change(before)
            if after is not None and after is not before:
                check_identity(kind.value, before, after)
                self._write((kind.value, resource_id, after))
            return after

        return await super().update_resource(kind, resource_id, tenant, written)

    async def delete_resource(self, kind: Kind, resource_id: str, tenant: str | None) -> None:
        if not (await self.get_resource(kind, resource_id, tenant)).system:
            self._write((kind.value, resource_id, None))
        await super().delete_resource(kind, resource_id, tenant)

    async def replace_system(self, records: Sequence[AnyResource]) -> None:
        before = dict(self._resources)
        await super().replace_system(records)
        after = self._resources
        gone = [(kind.value, resource_id, None) for kind, resource_id in before.keys() - after.keys()]
        changed = [
            (kind.value, resource_id, record)
            for (kind, resource_id), record in after.items()
            if before.get((kind, resource_id)) != record
        ]
        try:
            self._write(*gone, *changed)
        except StorageError:
            self._resources = before
            raise


def _raw(record: object, type_: type[Any]) -> msgspec.Raw:
    return msgspec.Raw(encode(record, msgspec.json.Decoder(type_).decode))


@hookimpl
def evalhub_storages() -> list[Descriptor[MyPluginStorage, Settings]]:
    return [
        Descriptor(api=1, name="my-plugin", factory=_make, settings=Settings, help="a journal in one file")
    ]


def _make(settings: Settings, context: PluginContext) -> MyPluginStorage:
    if settings.file:
        return MyPluginStorage(Path(settings.file).absolute())
    if context.data_dir is None:
        raise StartupError("my-plugin.file is not set. Set it, or start the server with --data-dir.")
    return MyPluginStorage(context.data_dir / "my-plugin.jsonl")
