"""The hooks of a plugin. Their docstrings are the reference.

A plugin is any object (usually a module) with functions marked ``@hookimpl``, named by an entry point of the
group ``evalhub.plugins``::

    [project.entry-points."evalhub.plugins"]
    my_plugin = "my_package.plugin"

pluggy has no async, so no hook returns an awaitable whose result the server needs. Behaviour lives in the abstract
classes :class:`Runtime`, :class:`Storage`, :class:`Tracker`, :class:`Exporter` and :class:`Observer`; hooks return descriptors of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pluggy

from evalhub_server.plugins.descriptors import Descriptor

if TYPE_CHECKING:
    from evalhub_server.plugins.export import Exporter
    from evalhub_server.plugins.observation import Observer
    from evalhub_server.plugins.runtime import Runtime
    from evalhub_server.plugins.storage import Storage
    from evalhub_server.plugins.tracking import Tracker

PROJECT = "evalhub"
ENTRY_POINT_GROUP = "evalhub.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
"""Marks the hooks of this module; plugins do not need it."""

hookimpl = pluggy.HookimplMarker(PROJECT)
"""Marks a function as the implementation of the hook with its name: ``@hookimpl``."""


@hookspec
def evalhub_runtimes() -> Sequence[Descriptor[Runtime, Any]]:  # pyright: ignore[reportReturnType]
    """Return the runtimes of this plugin: ways to run the adapter of a benchmark.

    Returns descriptors whose factories create :class:`~evalhub_server.plugins.Runtime` objects. Only the factory of the
    runtime that ``plugins.runtime`` (or ``--local``) selects is called.

    Called: once when the server starts, and by commands that read the configuration or list plugins.
    Concurrency: in the main thread, one hook at a time, without an event loop.
    Repeats: each process; nothing is written and nothing heavy imported.
    Failure: any exception marks the plugin as broken; the server starts without it unless it is selected.
    Time limit: none. An import that takes longer than 1 second, prints or warns is reported at start, by ``check`` and by
        ``plugins NAME``.
    """


@hookspec
def evalhub_storages() -> Sequence[Descriptor[Storage, Any]]:  # pyright: ignore[reportReturnType]
    """Return the storages of this plugin: databases for jobs, providers and collections.

    Called like :func:`evalhub_runtimes`. Factories create :class:`~evalhub_server.plugins.Storage` objects. Only the
    factory of the storage that ``plugins.storage`` (or ``database.driver``) selects is called.
    """


@hookspec
def evalhub_trackers() -> Sequence[Descriptor[Tracker, Any]]:  # pyright: ignore[reportReturnType]
    """Return the trackers of this plugin: experiment tracking servers that jobs report to.

    Called like :func:`evalhub_runtimes`. Factories create :class:`~evalhub_server.plugins.Tracker` objects, one for
    each name in ``plugins.trackers``.
    """


@hookspec
def evalhub_exporters() -> Sequence[Descriptor[Exporter, Any]]:  # pyright: ignore[reportReturnType]
    """Return the exporters of this plugin: targets for results of jobs, or for messages about them.

    Called like :func:`evalhub_runtimes`. Factories create :class:`~evalhub_server.plugins.Exporter` objects, one for
    each name in ``plugins.exporters``.
    """


@hookspec
def evalhub_catalog() -> Sequence[Path]:  # pyright: ignore[reportReturnType]
    """Return the directories of a provider pack: absolute paths of package directories, such as ``[Path(__file__).parent]``.

    Each has ``providers/``, ``collections/`` or both, with files as in a configuration directory. They are served below the user's
    own files and above the bundled ones with the same id; ``catalog.packs`` selects packs by the name of their entry point, all by
    default. The server does not start if two selected packs have a provider or a collection with the same id.

    Called like :func:`evalhub_runtimes`. Adapters that the pack brings start with ``"$EVALHUB_PYTHON" -m my_package.adapter``.
    """


@hookspec
def evalhub_observers() -> Sequence[Descriptor[Observer, Any]]:  # pyright: ignore[reportReturnType]
    """Return the observers of this plugin: receivers of the changes of jobs.

    Called like :func:`evalhub_runtimes`. Factories create :class:`~evalhub_server.plugins.Observer` objects, one for each name in
    ``plugins.observers``; by default for all installed ones.
    """
