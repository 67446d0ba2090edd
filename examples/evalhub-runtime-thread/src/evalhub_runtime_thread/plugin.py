"""What the server loads at start. The runtime itself is imported only when it is selected."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from evalhub_server.plugins import Descriptor, PluginContext, Runtime, hookimpl


class ThreadSettings(Struct, kw_only=True, frozen=True):
    """``thread:`` in config.yaml. ``modules``: those whose functions providers may name."""

    modules: tuple[str, ...] = ()
    max_threads: int = 4


@hookimpl
def evalhub_runtimes() -> Sequence[Descriptor[Runtime, ThreadSettings]]:
    return [
        Descriptor(
            api=1,
            name="thread",
            factory=_make,
            settings=ThreadSettings,
            help="a Python function in a thread of the server (example)",
        )
    ]


def _make(settings: ThreadSettings, context: PluginContext) -> Runtime:
    from evalhub_runtime_thread.runtime import ThreadRuntime

    return ThreadRuntime(settings.modules, settings.max_threads)
