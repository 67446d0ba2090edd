"""The parts of a server that supervise jobs, opened and closed as a unit."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial

from evalhub_server.cli.parts import SelectedPlugins
from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.engine.abandoned_launches import AbandonedLaunches
from evalhub_server.engine.catalog import Catalog
from evalhub_server.engine.catalog_files import pack_conflicts
from evalhub_server.engine.clock import utc_now
from evalhub_server.engine.file_watcher import FileWatcher
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.late_effects import LateEffects
from evalhub_server.engine.observers import Observe, ObserverDispatcher
from evalhub_server.engine.outbox import Outbox
from evalhub_server.engine.resource_store import ResourceStore
from evalhub_server.engine.retention import Retention
from evalhub_server.engine.samples import SampleCollector
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.environments.store import user_cache_dir
from evalhub_server.errors import StartupError
from evalhub_server.plugins.export import Exporter
from evalhub_server.plugins.manager import Plugins
from evalhub_server.plugins.packs import pack_folders
from evalhub_server.settings import Settings


class LeaderParts:
    """What must run once for all jobs of a database. It can be opened again after :meth:`close` or :meth:`abandon`.

    ``store`` is the one that the parts write to.
    """

    def __init__(
        self,
        store: JobStore,
        supervisor: Supervisor,
        outbox: Outbox,
        collector: SampleCollector,
        retention: Retention,
        file_watcher: FileWatcher,
        observers: ObserverDispatcher,
        abandoned: AbandonedLaunches,
        late_effects: LateEffects,
    ) -> None:
        self._store = store
        self._supervisor = supervisor
        self._outbox = outbox
        self._collector = collector
        self._retention = retention
        self._file_watcher = file_watcher
        self._observers = observers
        self._abandoned = abandoned
        self._late_effects = late_effects

    async def open(self) -> None:
        """Load the catalogue and continue what an earlier server left. If that fails, everything is closed again.

        Raises:
            StartupError, StorageError: the catalogue or the open jobs cannot be read.
        """
        try:
            await self._store.flush()  # a buffered result is not to be taken for missing
            self._observers.start()
            await self._file_watcher.load()
            self._file_watcher.start()
            await self._collector.start()
            await self._outbox.start()
            await self._late_effects.start()
            await self._supervisor.start()  # last: the others would wait for the first steps of all workloads
            self._retention.start()
        except BaseException:
            await self.abandon()
            raise

    def begin_close(self) -> None:
        """Launch nothing more."""
        self._supervisor.begin_close()

    async def close(self) -> None:
        """Complete what is under way, for a limited time, and stop."""
        await self._retention.close()
        await self._file_watcher.close()
        await self._collector.stop()
        await self._store.close()
        await self._supervisor.close()
        await self._outbox.close()
        await self._late_effects.stop()
        await self._observers.close()

    def halt(self) -> None:
        """Cancel everything that has effects outside of the storage, before it takes another step. Call :meth:`abandon` afterwards."""
        self._supervisor.halt()
        self._outbox.halt()
        self._late_effects.halt()

    async def abandon(self) -> None:
        """Stop at once, without an effect on workloads and exports: another server continues with them."""
        launches = await self._supervisor.abandon()
        self._abandoned.add(launches)
        self._late_effects.mark(await self._outbox.close(drain_s=0))
        await self._late_effects.stop()
        await self._retention.close()
        await self._file_watcher.close()
        await self._collector.stop()
        await self._observers.close(drain_s=0)


def observer_dispatcher(selected: SelectedPlugins) -> ObserverDispatcher:
    """Delivery of the changes of jobs to the observers, to the runtime's, and of deletions to exporters."""
    observers: list[tuple[str, Observe]] = [(each.name, each.job_changed) for each in selected.observers]
    observers += [
        (f"{each.name} exporter", partial(_deletion, each))
        for each in selected.exporters
        if each.__class__.job_deleted is not Exporter.job_deleted  # most do nothing then
    ]
    if selected.runtime.observe is not None:
        observers.append((f"{selected.runtime.name} runtime", selected.runtime.observe))
    return ObserverDispatcher(observers)


def _deletion(exporter: Exporter, change: JobChanged) -> Awaitable[None] | None:
    if change.after is not None or change.before is None:
        return None
    return exporter.job_deleted(change.before)


def file_watcher(settings: Settings, plugins: Plugins, resources: ResourceStore) -> FileWatcher:
    """The watcher of the files with providers and collections.

    Raises :class:`StartupError` if a selected pack is missing, or two have a provider or collection in common.
    """
    packs = plugins.packs(settings.catalog.packs)
    if conflicts := pack_conflicts(packs):
        raise StartupError("\n".join(each.message for each in conflicts))
    catalog = Catalog(
        lambda: settings.providers_dirs(pack_folders(packs, "providers")),
        lambda: settings.collections_dirs(pack_folders(packs, "collections")),
        cache / "catalog.json" if (cache := user_cache_dir()) else None,
    )
    return FileWatcher(catalog, resources, utc_now)
