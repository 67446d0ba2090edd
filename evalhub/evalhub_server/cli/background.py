"""Background parts of a server: delivery of changes to observers, and the watch of configuration files."""

from __future__ import annotations

from contextlib import AsyncExitStack

from evalhub_server.engine.catalog import Catalog
from evalhub_server.engine.clock import utc_now
from evalhub_server.engine.file_watcher import FileWatcher
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.observers import ObserverDispatcher
from evalhub_server.engine.resource_store import ResourceStore
from evalhub_server.plugins.manager import Plugins
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.settings import Settings


def start_observers(stack: AsyncExitStack, plugins: Plugins, store: JobStore, runtime: Runtime) -> None:
    """Deliver the changes of jobs to the observers of plugins and to the runtime's; ``stack`` ends that."""
    observers = plugins.observers()
    if runtime.observe is not None:
        observers = [*observers, (f"{runtime.name} runtime", runtime.observe)]
    dispatcher = ObserverDispatcher(observers)
    dispatcher.start()
    stack.push_async_callback(dispatcher.close)
    store.listen(dispatcher.publish)


async def start_file_watcher(stack: AsyncExitStack, settings: Settings, resources: ResourceStore) -> None:
    """Load providers and collections from their files, and again when these change; ``stack`` ends that."""
    catalog = Catalog(lambda: settings.providers_dirs, lambda: settings.collections_dirs)
    file_watcher = FileWatcher(catalog, resources, utc_now)
    await file_watcher.load()
    file_watcher.start()
    stack.push_async_callback(file_watcher.close)
