"""Verification of a backup or of the data of a server: files against records and digests, and the database itself."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import AnyResource
from evalhub_server.engine.backup import DATABASE, Manifest, Source, inside, read_manifest, sha256
from evalhub_server.engine.stored_files import FileRoots, jobs_among, named_files
from evalhub_server.errors import StorageError
from evalhub_server.plugins.storage import Storage


async def verify_backup(backup: Path, storage_of: Callable[[str], Storage]) -> tuple[Manifest, list[str]]:
    """The manifest, and what is wrong: files against sizes and digests, the database, records against files.

    Raises:
        BackupError: it is no backup.
    """
    manifest = read_manifest(backup)
    problems = await asyncio.to_thread(lambda: list(_changed_files(backup, manifest)))
    records: list[JobRecord | AnyResource] = []
    try:
        problems += await storage_of(manifest.storage).examine(backup / DATABASE, records.append)
    except StorageError as error:
        problems.append(str(error))
    listed = {file.path for file in manifest.files}
    roots = FileRoots(samples=backup / "samples")
    problems += [
        f"{file.relative}: missing in the backup, but job {job.id} has it"
        for job in jobs_among(records)
        for file in named_files(job, roots)
        if file.required and file.relative.as_posix() not in listed
    ]
    return manifest, problems


async def verify_stored(source: Source) -> tuple[int, list[str]]:
    """The number of jobs, and what is wrong with the database and with the files that its records name.

    Raises:
        StorageError: the database cannot be read.
    """
    jobs, problems = await _examine(source)
    if problems:
        # A server may have deleted or pruned a job between reading its record and looking for its files.
        jobs, again = await _examine(source)
        problems = [problem for problem in again if problem in problems]
    return jobs, problems


async def _examine(source: Source) -> tuple[int, list[str]]:
    records: list[JobRecord | AnyResource] = []
    problems = await source.storage.examine(None, records.append)
    jobs = jobs_among(records)
    problems += await asyncio.to_thread(lambda: list(_file_problems(jobs, source.roots)))
    return len(jobs), problems


def _file_problems(jobs: list[JobRecord], roots: FileRoots) -> Iterator[str]:
    for job in jobs:
        for file in named_files(job, roots):
            if not file.required:
                continue
            try:
                if sha256(file.path) != file.digest:
                    yield f"{file.path}: its content is not what job {job.id} has stored (SHA-256)"
            except OSError as error:
                yield f"{file.path}: {error.strerror}, but job {job.id} has it"


def _changed_files(backup: Path, manifest: Manifest) -> Iterator[str]:
    for file in manifest.files:
        path = inside(backup, file.path)
        try:
            if path.stat().st_size != file.bytes:
                yield f"{file.path}: {path.stat().st_size} bytes instead of {file.bytes}"
            elif sha256(path) != file.sha256:
                yield f"{file.path}: its content has changed since the backup (SHA-256)"
        except OSError as error:
            yield f"{file.path}: {error.strerror}"
