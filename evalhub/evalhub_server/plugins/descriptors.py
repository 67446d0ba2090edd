"""Descriptors: what a plugin offers, known before anything heavy is imported."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, Final, Generic, Literal, TypeVar

import msgspec

from evalhub_server.domain.record import JobRecord
from evalhub_server.errors import PluginError

PLUGIN_API: Final = 1
"""The newest version of the plugin API that this server has."""

OLDEST_PLUGIN_API: Final = 1
"""The oldest version of the plugin API that this server still accepts."""

RESERVED_NAMES = frozenset({"all", "default", "none"})
"""Names that no plugin may have: words that configuration files may need to mean something else."""

RESERVED_SECTIONS = frozenset(
    {
        "catalog",
        "env_mappings",
        "finalizer",
        "otel",
        "plugins",
        "prometheus",
        "retention",
        "samples",
        "secrets",
        "service",
        "sidecar",
        "supervisor",
        "viewer",
    }
)
"""Sections of the configuration that belong to the server."""

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,62}")

Instance_co = TypeVar("Instance_co", covariant=True)
Settings = TypeVar("Settings", bound=msgspec.Struct)

DockerConfigOf = Callable[[JobRecord], Awaitable[bytes | None]]
"""Looks up the registry credentials of a job: :meth:`Runtime.docker_config` of the selected runtime."""


class PluginContext(msgspec.Struct, kw_only=True, frozen=True):
    """What the server passes to every factory.

    ``data_dir`` is the directory for durable data, or None if the user wants nothing durable. ``callback_url`` is the
    URL at which an adapter on this host reaches the server, without a trailing slash. ``secrets`` are names of
    environment variables that adapters must not inherit. ``docker_config`` is for exporters: it looks up a job's
    registry credentials. ``sections`` is the whole configuration, for a plugin that needs more than its own section
    (use :func:`find_section` and :func:`convert_section`); it contains secrets.
    ``runtime`` and ``trackers`` are the names of the selected runtime and trackers. ``shared`` is for
    :func:`check_directory` and related functions: whether the group of a mounted volume may write to stored files, since the
    selected runtime starts nothing on this host. ``log_max_bytes`` is the maximum size of one benchmark's log, for runtimes that
    keep logs; 0 or less is no limit.
    """

    data_dir: Path | None = None
    shared: bool = False
    log_max_bytes: int = 0
    callback_url: str = ""
    secrets: frozenset[str] = frozenset()
    docker_config: DockerConfigOf | None = None
    sections: Mapping[str, Any] = {}
    runtime: str = ""
    trackers: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Short, because the configuration contains secrets."""
        return f"PluginContext(data_dir={self.data_dir!r}, callback_url={self.callback_url!r})"


class NoSettings(msgspec.Struct, kw_only=True, frozen=True):
    """``settings`` of a plugin that has none: any key in its section is refused."""


class Descriptor(msgspec.Struct, Generic[Instance_co, Settings], kw_only=True, frozen=True):
    """One runtime, storage, tracker or exporter that a plugin offers.

    ``api`` is the version of the plugin API that the plugin is written for. Write the number, not :data:`PLUGIN_API`,
    which grows with the server: a server accepts :data:`OLDEST_PLUGIN_API` to :data:`PLUGIN_API` and refuses a selected
    plugin of another version.

    ``name`` selects it in the configuration; it is a lower-case letter followed by at most 62 lower-case letters, digits,
    ``-`` and ``_``, and not ``all``, ``default`` or ``none``. Two plugins may offer the same name as long as neither is
    selected.

    ``factory(settings, context)`` returns the instance. It is called only if the plugin is selected: import heavy
    dependencies in it. It opens, starts and writes nothing, which is for ``open``, ``check`` and later calls;
    ``eval-hub-server check`` creates instances that are never opened.

    ``settings`` is a msgspec Struct type (or :class:`NoSettings`). The section ``section`` of the configuration
    (default: ``name``; same pattern; not one of the server's own) is converted to it; unknown keys are refused.

    ``help`` is one line for ``eval-hub-server plugins``.

    ``request`` is for exporters: the msgspec Struct type of what a job has in ``exports`` below the exporter's name. A job
    with anything else there is refused when it is submitted. None accepts anything; see :func:`export_request`.
    """

    api: Literal[1]
    name: str
    factory: Callable[[Settings, PluginContext], Instance_co]
    settings: type[Settings]
    section: str = ""
    help: str = ""
    request: type[msgspec.Struct] | None = None

    @property
    def settings_section(self) -> str:
        """The section of the configuration that ``settings`` is read from."""
        return self.section or self.name


def check_descriptor(descriptor: Descriptor[Any, Any]) -> None:
    """Raise :class:`PluginError` if a name, a section, the factory or a type is not usable.

    No type checker may have seen the plugin, and what is wrong with one must not affect the server.
    """
    names = {"name": descriptor.name, "section": descriptor.settings_section}
    for field, value in names.items():
        if not _NAME.fullmatch(value):
            raise PluginError(
                f"the {field} {value!r} of a descriptor is not valid; use a lower-case letter followed by at most 62 "
                "lower-case letters, digits, '-' and '_'"
            )
    if descriptor.name in RESERVED_NAMES:
        raise PluginError(f"the name '{descriptor.name}' of a descriptor is reserved; choose another one")
    if descriptor.settings_section in RESERVED_SECTIONS:
        raise PluginError(
            f"the section '{descriptor.settings_section}' of a descriptor belongs to the server; choose another one"
        )
    if not callable(descriptor.factory):
        raise PluginError(
            f"the factory of the descriptor '{descriptor.name}' cannot be called; "
            "give a function or class that takes the settings and a PluginContext"
        )
    _check_struct(
        descriptor.settings,
        f"settings of the descriptor '{descriptor.name}'",
        "a plugin without any has NoSettings",
    )
    if descriptor.request is not None:
        _check_struct(
            descriptor.request, f"request of the descriptor '{descriptor.name}'", "None accepts anything"
        )


def _check_struct(type_: object, field: str, advice: str) -> None:
    if not (isinstance(type_, type) and issubclass(type_, msgspec.Struct)):
        raise PluginError(f"the {field} must be a subclass of msgspec.Struct, not {type_!r}; {advice}")


def check_types(descriptor: Descriptor[Any, Any]) -> None:
    """Raise :class:`PluginError` if a type hint of the settings or the request cannot be resolved. Takes about a millisecond."""
    types = [type_ for type_ in (descriptor.settings, descriptor.request) if type_ is not None]
    for type_ in types:
        try:
            msgspec.structs.fields(type_)
        except Exception as error:
            raise PluginError(
                f"the types of {type_.__name__} of the descriptor '{descriptor.name}' cannot be resolved: {error}"
            ) from error


def incompatibility(api: object) -> str:
    """Return why this server does not accept a descriptor's ``api``, as a predicate; empty if it does.

    Plugins that no type checker has seen pass anything.
    """
    if isinstance(api, int) and OLDEST_PLUGIN_API <= api <= PLUGIN_API:
        return ""
    return f"is written for plugin API {api}; this server accepts {accepted_apis()}"


def deprecation(api: object) -> str:
    """Return a warning about an ``api`` that is accepted but not the newest, as a predicate; empty for any other."""
    if incompatibility(api) or api == PLUGIN_API:
        return ""
    return (
        f"is written for plugin API {api}; this server has {PLUGIN_API}, and a later one may refuse {api}. "
        "Upgrade the plugin with pip, if there is a newer one"
    )


def accepted_apis() -> str:
    """The accepted versions of the plugin API, as messages show them."""
    if OLDEST_PLUGIN_API == PLUGIN_API:
        return str(PLUGIN_API)
    return f"{OLDEST_PLUGIN_API} to {PLUGIN_API}"
