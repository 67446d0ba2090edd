"""The hooks of a plugin. Their docstrings are the reference.

A plugin is any object (usually a module) with functions marked ``@hookimpl``, named by an entry point of the
group ``evalhub.plugins``::

    [project.entry-points."evalhub.plugins"]
    my_plugin = "my_package.plugin"

pluggy has no async, so a hook never returns something awaitable that the caller needs. Behaviour lives in the
abstract classes :class:`Runtime`, :class:`Storage`, :class:`Tracker` and :class:`Exporter`; a hook only names them.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import pluggy

from evalhub_server.domain.record import JobRecord
from evalhub_server.plugins.descriptors import Descriptor

if TYPE_CHECKING:
    from evalhub_server.plugins.export import Exporter
    from evalhub_server.plugins.runtime import Runtime
    from evalhub_server.plugins.storage import Storage
    from evalhub_server.plugins.tracking import Tracker

PROJECT = "evalhub"
ENTRY_POINT_GROUP = "evalhub.plugins"

hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


class JobChanged(msgspec.Struct, kw_only=True, frozen=True):
    """A committed change. ``before`` is None for a new job, ``after`` is None for a deleted one."""

    before: JobRecord | None
    after: JobRecord | None


@hookspec
def evalhub_runtimes() -> Sequence[Descriptor[Runtime, Any]]:  # pyright: ignore[reportReturnType]
    """Name the runtimes of this plugin: ways to run a benchmark's adapter.

    Called once, when the server starts, from the main thread. Keep it cheap: no heavy import, no I/O.
    Return a sequence of descriptors whose factories make :class:`~evalhub_server.plugins.Runtime` objects.
    The one that ``plugins.runtime`` (or ``--local``) selects is made; the others stay names.
    """


@hookspec
def evalhub_storages() -> Sequence[Descriptor[Storage, Any]]:  # pyright: ignore[reportReturnType]
    """Name the storages of this plugin: where jobs are kept.

    Called like :func:`evalhub_runtimes`. Factories make :class:`~evalhub_server.plugins.Storage` objects; the one
    that ``plugins.storage`` (or ``database.driver``) selects is made.
    """


@hookspec
def evalhub_trackers() -> Sequence[Descriptor[Tracker, Any]]:  # pyright: ignore[reportReturnType]
    """Name the trackers of this plugin: experiment tracking servers that jobs report into.

    Called like :func:`evalhub_runtimes`. Factories make :class:`~evalhub_server.plugins.Tracker` objects, one for
    each name in ``plugins.trackers``.
    """


@hookspec
def evalhub_exporters() -> Sequence[Descriptor[Exporter, Any]]:  # pyright: ignore[reportReturnType]
    """Name the exporters of this plugin: places that results of jobs, or news of them, are sent to.

    Called like :func:`evalhub_runtimes`. Factories make :class:`~evalhub_server.plugins.Exporter` objects, one for
    each name in ``plugins.exporters``.
    """


@hookspec
def evalhub_job_changed(change: JobChanged) -> Awaitable[None] | None:
    """Observe a change of a job after it is committed.

    ``change`` holds the frozen record before and after. Called for every create, event, exit, cancel, attempt
    of an export, and delete, in the order of the commits of one job; what happens while the server is down or the
    queue of a slow observer is full, nobody tells it. What must not miss anything is an exporter: see
    :meth:`Exporter.owes`. May be a plain function (keep it under a millisecond: it runs on the
    server's event loop) or a coroutine function (time-boxed). What it raises is logged and affects nothing and
    nobody: no job, no other observer.
    """
