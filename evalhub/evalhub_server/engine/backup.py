"""Backups: the database as of one moment, the files that its records name, and a manifest with digests.

A backup is a directory::

    manifest.json      written last; without it there is no backup
    database           written by the storage
    samples/…          samples and artifacts, as in the folder of the server
    jobs/…             logs, at their paths below the directory of job directories

It is written under a temporary name beside the target and renamed, so a directory with the name of the target is complete.
The database is copied first, then the files that its records name. A file that has been deleted meanwhile belonged to a job
that was deleted or pruned, so the database is copied again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import msgspec
from msgspec import Struct

from evalhub_common.adapter_files import NotAFile, open_regular
from evalhub_common.private_paths import make_private
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import AnyResource
from evalhub_server.engine.stored_files import FileRoots, jobs_among, named_files
from evalhub_server.errors import EvalHubError
from evalhub_server.plugins.storage import Storage

FORMAT = 1
MANIFEST = "manifest.json"
DATABASE = "database"
ATTEMPTS = 5
_CHUNK_BYTES = 1024 * 1024


class BackupError(EvalHubError):
    """A backup could not be written, read or restored; the text names the file and the remedy."""


class BackedUpFile(Struct, kw_only=True, frozen=True):
    """A file of a backup: its path in the backup, with ``/``, its size and its SHA-256 in hexadecimal digits."""

    path: str
    bytes: int
    sha256: str


class Manifest(Struct, kw_only=True, frozen=True):
    """The content of a backup. ``version`` is that of the server that wrote it, ``storage`` the name of its storage."""

    format: int
    version: str
    storage: str
    created_at: datetime
    jobs: int
    files: tuple[BackedUpFile, ...]


class Source(NamedTuple):
    """What a backup is taken of: a storage that is not open, its name, and where the files are."""

    storage: Storage
    storage_name: str
    roots: FileRoots


async def back_up(source: Source, target: Path, version: str, now: datetime) -> tuple[Manifest, list[str]]:
    """Write a backup to ``target``, which must be missing or empty. A server may be using the storage.

    Returns its manifest, and what is wrong with the data: what is damaged is copied as it is.

    Raises:
        BackupError, StorageError: it could not be written; nothing is left at ``target``.
    """
    _require_empty(target)
    part = _part(target)
    try:
        manifest, problems = await _fill(source, part, version, now)
        await asyncio.to_thread(_publish, part, target, manifest)
    except OSError as error:
        raise BackupError(f"The backup {target} cannot be written: {error}.") from error
    finally:
        await asyncio.to_thread(shutil.rmtree, part, ignore_errors=True)
    return manifest, problems


async def _fill(source: Source, part: Path, version: str, now: datetime) -> tuple[Manifest, list[str]]:
    missing: list[str] = []
    attempt = 0
    while True:
        attempt += 1
        await asyncio.to_thread(shutil.rmtree, part, ignore_errors=True)
        make_private(part)
        database, records = part / DATABASE, list[JobRecord | AnyResource]()
        await source.storage.backup(database)
        problems = await source.storage.examine(database, records.append)
        jobs = jobs_among(records)
        files = [BackedUpFile(path=DATABASE, bytes=database.stat().st_size, sha256=sha256(database))]
        before = missing
        copied, missing = await asyncio.to_thread(_copy_files, source.roots, jobs, part)
        if missing and missing != before and attempt < ATTEMPTS:
            continue  # deleted with their jobs, or lost: the next copy of the database shows which
        manifest = Manifest(
            format=FORMAT,
            version=version,
            storage=source.storage_name,
            created_at=now,
            jobs=len(jobs),
            files=(*files, *copied),
        )
        return manifest, problems + missing


def _copy_files(roots: FileRoots, jobs: list[JobRecord], part: Path) -> tuple[list[BackedUpFile], list[str]]:
    """Copy the files that the records name; returns them, and a text for each that must exist and is missing."""
    copied: list[BackedUpFile] = []
    missing: list[str] = []
    for job in jobs:
        for file in named_files(job, roots):
            found = copy_regular(file.path, part / file.relative)
            if found is not None:
                copied.append(BackedUpFile(path=file.relative.as_posix(), bytes=found[0], sha256=found[1]))
            elif file.required:
                missing.append(f"{file.path}: missing, but job {job.id} has it")
    return copied, missing


def copy_regular(source: Path, target: Path) -> tuple[int, str] | None:
    """Copy a regular file as far as it is written now; returns size and SHA-256, None if there is none. Follows no link."""
    try:
        content = open_regular(source.parent, source.name)
    except NotAFile:
        content = None
    if content is None:
        return None
    with content:
        size_bytes = os.fstat(content.fileno()).st_size
        make_private(target.parent)
        digest, left = hashlib.sha256(), size_bytes
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
            while left and (chunk := content.read(min(_CHUNK_BYTES, left))):
                digest.update(chunk)
                copy.write(chunk)
                left -= len(chunk)
            copy.flush()
            os.fsync(copy.fileno())
        return size_bytes - left, digest.hexdigest()


def read_manifest(backup: Path) -> Manifest:
    """Raises :class:`BackupError`: the directory is no complete backup, or of a newer version."""
    try:
        content = (backup / MANIFEST).read_bytes()
        header = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
        if msgspec.json.decode(header.get("format", b"0"), type=int) > FORMAT:
            raise BackupError(f"The backup {backup} was written by a newer server. Restore it with that one.")
        return msgspec.json.decode(content, type=Manifest)
    except FileNotFoundError:
        raise BackupError(f"{backup} is no backup, or an incomplete one: it has no {MANIFEST}.") from None
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupError(f"The manifest of the backup {backup} cannot be read: {error}.") from error


async def restore(
    backup: Path, storage_name: str, storage_in: Callable[[Path], Storage], data_dir: Path
) -> Manifest:
    """Restore a backup to the missing or empty ``data_dir``. Each file is checked against its digest.

    ``storage_in`` creates the configured storage for a data directory. A database in the directory gets its name together
    with the files. Another one is filled last, in one transaction: until then it is empty.

    Raises:
        BackupError, StorageError: nothing is left at ``data_dir``.
    """
    manifest = read_manifest(backup)
    if manifest.storage != storage_name:
        raise BackupError(
            f"The backup {backup} is of the storage {manifest.storage!r}, and {storage_name!r} is configured. "
            "Select the same storage."
        )
    _require_empty(data_dir)
    part = _part(data_dir)
    try:
        await asyncio.to_thread(_restore_files, backup, manifest, part)
        storage = storage_in(part)
        database = storage.local_file
        inside = database is not None and part in database.parents
        if inside:
            await storage.restore(backup / DATABASE)
        await asyncio.to_thread(_rename, part, data_dir)
        if not inside:
            await storage.restore(backup / DATABASE)
    except OSError as error:
        raise BackupError(f"The directory {data_dir} cannot be written: {error}.") from error
    finally:
        await asyncio.to_thread(shutil.rmtree, part, ignore_errors=True)
    return manifest


def _restore_files(backup: Path, manifest: Manifest, part: Path) -> None:
    make_private(part)
    for file in manifest.files:
        source = inside(backup, file.path)
        if file.path == DATABASE:
            intact = source.is_file() and sha256(source) == file.sha256
        else:
            intact = copy_regular(source, part / file.path) == (file.bytes, file.sha256)
        if not intact:
            raise _changed(backup, file.path)


def _changed(backup: Path, path: str) -> BackupError:
    return BackupError(
        f"The backup {backup} is damaged: {path} is missing or has changed. Use another backup; verify lists all problems."
    )


def inside(backup: Path, path: str) -> Path:
    """A path of the manifest, which must not lead out of the backup. Raises :class:`BackupError`."""
    parts = PurePosixPath(path)
    if (
        parts.is_absolute()
        or ".." in parts.parts
        or parts.parts[:1] not in ((DATABASE,), ("samples",), ("jobs",))
    ):
        raise BackupError(f"The backup {backup} is damaged: its manifest names {path!r}.")
    return backup / path


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _require_empty(target: Path) -> None:
    try:
        if not os.path.lexists(target) or not any(target.iterdir()):
            return
    except OSError as error:
        raise BackupError(f"{target} cannot be used: {error.strerror}.") from error
    raise BackupError(f"{target} is not empty. Give a new or empty directory.")


def _part(target: Path) -> Path:
    absolute = target.absolute()
    return absolute.with_name(f".{absolute.name}.part-{uuid.uuid4().hex}")


def _publish(part: Path, target: Path, manifest: Manifest) -> None:
    with os.fdopen(os.open(part / MANIFEST, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(manifest)))
        file.flush()
        os.fsync(file.fileno())
    _rename(part, target)


def _rename(part: Path, target: Path) -> None:
    for directory, _, _ in os.walk(part):
        _sync(Path(directory))
    part.rename(target)  # replaces an empty directory
    _sync(target.absolute().parent)


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
