"""``eval-hub-server backup``, ``restore`` and ``verify``."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, Unpack

from evalhub_server import __version__
from evalhub_server.cli.output import write
from evalhub_server.cli.selection import make_selected, runtime_name, storage_name
from evalhub_server.engine.backup import Source, back_up, restore
from evalhub_server.engine.clock import utc_now
from evalhub_server.engine.stored_files import FileRoots
from evalhub_server.engine.verification import verify_backup, verify_stored
from evalhub_server.errors import EvalHubError, StartupError
from evalhub_server.plugins.descriptors import PluginContext
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.plugins.manager import Plugins
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.plugins.storage import Storage
from evalhub_server.settings import ServerFlags, Settings, load_settings

T = TypeVar("T")


class Configured(NamedTuple):
    """The settings of a server, and the plugins."""

    settings: Settings
    plugins: Plugins

    @classmethod
    def load(cls, **flags: Unpack[ServerFlags]) -> Configured:
        plugins = load_plugins()
        return cls(load_settings(**flags, plugin_sections=plugins.sections()), plugins)

    def storage(self, data_dir: Path | None, name: str = "") -> Storage:
        """The configured storage for a data directory, not open; or the one called ``name``."""
        return make_selected(
            self.plugins, self.settings, Storage, name or storage_name(self.settings), self._context(data_dir)
        )

    def source(self) -> Source:
        settings = self.settings
        runtime = make_selected(
            self.plugins, settings, Runtime, runtime_name(settings), self._context(settings.data_dir)
        )
        roots = FileRoots(samples=settings.samples_dir, runtime=runtime)
        return Source(self.storage(settings.data_dir), storage_name(settings), roots)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run to completion; errors contain no secrets."""
        try:
            return asyncio.run(work)
        except EvalHubError as error:
            raise StartupError(self.settings.secrets.redact(str(error))) from None

    def report(self, problems: list[str]) -> None:
        for problem in problems:
            write(f"error: {' '.join(self.settings.secrets.redact(problem).split())}\n")

    def note_bucket(self, what: str) -> None:
        """Print that samples and artifacts are in a bucket, and ``what`` follows from that."""
        if self.settings.samples_in_bucket:
            write(f"note: the samples and artifacts in {self.settings.samples.url} are {what}\n")

    def _context(self, data_dir: Path | None) -> PluginContext:
        settings = self.settings
        return PluginContext(
            data_dir=data_dir, secrets=settings.secrets.variables, sections=settings.sections
        )


def run_backup(target: Path, **flags: Unpack[ServerFlags]) -> int:
    """Back up a server's data to a new directory; returns 1 if the data have faults, which the backup has, too."""
    configured = Configured.load(**flags)
    manifest, problems = configured.run(back_up(configured.source(), target, __version__, utc_now()))
    size = sum(file.bytes for file in manifest.files)
    configured.report(problems)
    configured.note_bucket(
        "not part of the backup: back up the bucket, for example by versioning or replication"
    )
    write(f"{target}: {_count(manifest.jobs, 'job')}, {_count(len(manifest.files), 'file')}, {size} bytes\n")
    return 1 if problems else 0


def run_restore(backup: Path, **flags: Unpack[ServerFlags]) -> int:
    """Restore a backup to a new data directory."""
    configured = Configured.load(**flags)
    data_dir = configured.settings.data_dir
    if data_dir is None:
        raise StartupError("Name the new data directory with --data-dir.")
    name = storage_name(configured.settings)
    manifest = configured.run(restore(backup, name, configured.storage, data_dir))
    write(f"{data_dir}: restored {_count(manifest.jobs, 'job')} of {manifest.created_at.isoformat()}\n")
    return 0


def run_verify(backup: Path | None, **flags: Unpack[ServerFlags]) -> int:
    """Verify a backup, or the data of a server; prints what is wrong and returns 1 if anything is."""
    configured = Configured.load(**flags)
    if backup is None:
        jobs, problems = configured.run(verify_stored(configured.source()))
        configured.note_bucket("not verified")
    else:
        manifest, problems = configured.run(
            verify_backup(backup, lambda name: configured.storage(configured.settings.data_dir, name))
        )
        jobs = manifest.jobs
    configured.report(problems)
    write(f"{_count(jobs, 'job')}, {_count(len(problems), 'problem')}\n")
    return 1 if problems else 0


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
