"""Plugin descriptor of the local runtime; the runtime itself is imported when it is selected."""

from __future__ import annotations

from typing import TYPE_CHECKING

from evalhub_runtime_local.settings import LocalSettings
from evalhub_server.plugins import Descriptor, PluginContext, hookimpl

if TYPE_CHECKING:
    from evalhub_runtime_local.runtime import LocalRuntime


def make_runtime(settings: LocalSettings, context: PluginContext) -> LocalRuntime:
    """Create the runtime, not yet checked. Raises :class:`SettingsError` for a bad value."""
    from evalhub_runtime_local.runtime import LocalRuntime  # only when selected

    return LocalRuntime(settings, context)


@hookimpl
def evalhub_runtimes() -> list[Descriptor[LocalRuntime, LocalSettings]]:
    return [
        Descriptor(
            api=1,
            name="local",
            factory=make_runtime,
            settings=LocalSettings,
            help="adapters as processes on this host",
        )
    ]
