"""The folder or the bucket of samples and artifacts, and the services that work in it."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Mapping
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import NamedTuple

import structlog

from evalhub_common.private_paths import UnsafePath, check_directory, make_private, safe_path
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.sample_backend import SampleBackend
from evalhub_server.engine.sample_bucket import SampleBucket
from evalhub_server.engine.sample_folder import SampleFolder
from evalhub_server.engine.sample_store import SampleStore
from evalhub_server.engine.sample_uploads import SampleUploads
from evalhub_server.engine.samples import SampleCollector
from evalhub_server.errors import SampleStoreUnavailable, SettingsError, StartupError
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.settings import Settings, connection_of

log = structlog.get_logger()

ABANDONED_S = 3600.0
"""Age from which a temporary file in a folder of several servers counts as left by one that died."""


class Samples(NamedTuple):
    """The services for samples: collection, reading and uploads."""

    collector: SampleCollector
    files: SampleStore
    uploads: SampleUploads


async def open_samples(
    stack: AsyncExitStack, settings: Settings, store: JobStore, leader_store: JobStore, runtime: Runtime
) -> Samples:
    """Open the folder or the bucket, and remove incomplete files of an earlier server. ``stack`` closes it.

    ``leader_store`` is where the collector records what it has stored. If that is not ``store``, other servers may be
    writing to the folder.

    Raises:
        StartupError: the folder cannot be used, or other users can write to it; or the bucket cannot be used.
    """
    backend, not_kept = sample_backend(stack, settings), ""
    if isinstance(backend, SampleFolder):
        check_folder(backend.root, shared=not runtime.on_this_host, create=True)
    elif isinstance(backend, SampleBucket):
        await asyncio.to_thread(check_bucket, backend)
    elif store.durable:
        not_kept = "set samples.url, or start it with --data-dir"
    else:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="evalhub-samples-"))
        backend = SampleFolder(Path(folder))
    files = SampleStore(backend, settings.samples, not_kept)
    collector = SampleCollector(leader_store, runtime, files)
    stack.push_async_callback(collector.close)
    if removed := await files.open(0 if leader_store is store else ABANDONED_S):
        log.info("Removed incomplete sample files", files=removed)
    return Samples(collector, files, SampleUploads(store, files))


def sample_backend(
    stack: AsyncExitStack | ExitStack, settings: Settings, environ: Mapping[str, str] = os.environ
) -> SampleBackend | None:
    """The folder or the bucket that the settings name, or None. ``stack`` removes a temporary cache.

    Raises:
        StartupError: the settings are wrong, or the client library of buckets is not installed.
    """
    if not settings.samples_in_bucket:
        return SampleFolder(settings.samples_dir) if settings.samples_dir is not None else None
    if settings.data_dir is not None:
        local = settings.data_dir / "samples-cache"
    else:
        local = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evalhub-samples-")))
    try:
        connection = connection_of(settings.samples, environ)
    except SettingsError as error:
        raise settings.error(error) from None
    return SampleBucket(connection, local, settings.samples.index_cache_bytes)


def check_bucket(bucket: SampleBucket) -> None:
    """Write, read, list and delete an object. Raises :class:`StartupError`."""
    try:
        bucket.check()
    except SampleStoreUnavailable as error:
        raise StartupError(f"samples.url: {error}.") from None


def check_folder(folder: Path, *, shared: bool, create: bool = False) -> None:
    """Check the folder of ``samples.url`` as the data directory is checked; with ``create``, create it if it is missing.

    ``shared`` permits the group of a mounted volume.

    Raises:
        StartupError: it cannot be used, or other users can change what is in it.
    """
    try:
        path = safe_path(folder, shared=shared)
        if create:
            make_private(path)
        elif not os.path.lexists(path):
            return
        check_directory(path, shared=shared)
    except UnsafePath as error:
        raise StartupError(
            f"samples.url: {error} Results are read from there, so only the server's own user and root may write there."
        ) from None
    except OSError as error:
        action = "created" if create else "examined"
        raise StartupError(f"samples.url: {folder} cannot be {action}: {error.strerror}.") from None
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        raise StartupError(f"samples.url: {folder} is not writable.")
