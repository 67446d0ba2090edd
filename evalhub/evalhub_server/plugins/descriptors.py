"""What a plugin says about itself before anything heavy is imported."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from evalhub_server.domain.record import JobRecord

PLUGIN_API = 1
"""Version of the plugin contracts. A descriptor made for another one is refused."""


DockerConfigOf = Callable[[JobRecord], Awaitable[bytes | None]]
"""How the registry credentials of a job are found: :meth:`Runtime.docker_config`."""


class PluginContext(msgspec.Struct, kw_only=True, frozen=True):
    """What the core tells every plugin that it makes.

    ``data_dir`` is where durable data belong, or None when the user did not ask for any. ``callback_url`` is the
    address at which an adapter on this host reaches the server, without a trailing slash. ``secrets`` are the
    names of environment variables that no adapter may inherit. ``docker_config`` is for exporters: it asks the
    selected runtime for a job's registry credentials. ``sections`` is the whole configuration, for a plugin that
    needs more than its own section (with :func:`find_section` and :func:`convert_section`); it holds secrets.
    """

    data_dir: Path | None = None
    callback_url: str = ""
    secrets: frozenset[str] = frozenset()
    docker_config: DockerConfigOf | None = None
    sections: Mapping[str, Any] = {}

    def __repr__(self) -> str:
        """Short, because the configuration holds secrets."""
        return f"PluginContext(data_dir={self.data_dir!r}, callback_url={self.callback_url!r})"


class Descriptor(msgspec.Struct, kw_only=True, frozen=True):
    """One runtime, storage, tracker or exporter that a plugin offers.

    ``name`` is what configuration selects. ``factory(settings, context)`` makes the instance; it runs only when
    selected, so import heavy dependencies in it, not beside it. It opens, starts and writes nothing: that is for
    ``open``, ``check`` and later calls, and ``eval-hub-server check`` makes instances that nobody uses. ``settings`` is
    a msgspec Struct type; the section ``section`` of the configuration (default: ``name``) is converted to it and
    unknown keys are refused. ``help`` is one line for ``eval-hub-server plugins``.
    """

    name: str
    factory: Callable[[Any, PluginContext], Any]
    settings: type[msgspec.Struct] | None = None
    section: str = ""
    help: str = ""
    api: int = PLUGIN_API

    @property
    def settings_section(self) -> str:
        return self.section or self.name
