"""The folder of samples and artifacts, and the services that work in it."""

from __future__ import annotations

import os
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

from evalhub_server.engine.clock import utc_now
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.retention import Retention
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
        StartupError: the folder cannot be used.
    """
    folder, not_kept = settings.samples_dir, ""
    if folder is not None:
        _check(folder)
    elif store.durable:
        not_kept = "set samples.url, or start it with --data-dir"
    else:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="evalhub-samples-")))
    files = SampleStore(folder, settings.samples, not_kept)
    collector = SampleCollector(store, runtime, files)
    stack.push_async_callback(collector.close)
    await collector.start()
    return Samples(collector, files, SampleUploads(store, files))


def start_retention(
    stack: AsyncExitStack, settings: Settings, store: JobStore, runtime: Runtime, files: SampleStore
) -> None:
    """Start to delete what the retention policy does not keep. ``stack`` stops it."""
    retention = Retention(store, runtime, files, settings.retention.policy, utc_now)
    retention.start()
    stack.push_async_callback(retention.close)


def _check(folder: Path) -> None:
    if "://" in str(folder) or str(folder).startswith("s3:/"):
        raise StartupError("samples.url: only a folder is supported; give its path.")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartupError(f"samples.url: {folder} cannot be created: {error.strerror}.") from None
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        raise StartupError(f"samples.url: {folder} is not writable.")
