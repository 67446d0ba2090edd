"""The folder of samples and artifacts, and the services that work in it."""

from __future__ import annotations

import os
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from evalhub_common.private_paths import UnsafePath, check_directory, make_private, safe_path
from evalhub_server.engine.clock import utc_now
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.retention import Baselines, Retention
from evalhub_server.engine.sample_folder import SampleFolder
from evalhub_server.engine.sample_store import SampleStore
from evalhub_server.engine.sample_uploads import SampleUploads
from evalhub_server.engine.samples import SampleCollector
from evalhub_server.errors import StartupError
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.settings import Settings


class Samples(NamedTuple):
    """The services for samples: collection, reading and uploads."""

    collector: SampleCollector
    files: SampleStore
    uploads: SampleUploads


async def open_samples(
    stack: AsyncExitStack, settings: Settings, store: JobStore, runtime: Runtime
) -> Samples:
    """Open the folder, and continue what an earlier server left. ``stack`` closes it.

    Raises:
        StartupError: the folder cannot be used, or other users can write to it.
    """
    folder, not_kept = settings.samples_dir, ""
    if folder is not None:
        check_folder(folder, shared=not runtime.on_this_host, create=True)
    elif store.durable:
        not_kept = "set samples.url, or start it with --data-dir"
    else:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evalhub-samples-")))
    files = SampleStore(SampleFolder(folder) if folder else None, settings.samples, not_kept)
    collector = SampleCollector(store, runtime, files)
    stack.push_async_callback(collector.close)
    await collector.start()
    return Samples(collector, files, SampleUploads(store, files))


def start_retention(
    stack: AsyncExitStack,
    settings: Settings,
    store: JobStore,
    runtime: Runtime,
    files: SampleStore,
    baselines: Baselines,
) -> None:
    """Start to delete what the retention policy does not keep. ``stack`` stops it."""
    retention = Retention(store, runtime, files, settings.retention.policy, utc_now, baselines)
    retention.start()
    stack.push_async_callback(retention.close)


def check_folder(folder: Path, *, shared: bool, create: bool = False) -> None:
    """Check the folder of ``samples.url`` as the data directory is checked; with ``create``, create it if it is missing.

    ``shared`` permits the group of a mounted volume.

    Raises:
        StartupError: it cannot be used, or other users can change what is in it.
    """
    if "://" in str(folder) or str(folder).startswith("s3:/"):
        raise StartupError("samples.url: only a folder is supported; give its path.")
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
