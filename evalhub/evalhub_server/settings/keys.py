"""Every key of the configuration with its description: for documentation, templates and hints."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, cast, get_args, get_origin

import msgspec
from msgspec import Meta, Struct

from evalhub_server.plugins.sections import Duration, struct_in
from evalhub_server.settings.schema import CORE_SECTIONS, SecretFiles

NO_EFFECT: Mapping[str, str] = {
    "database.max_idle_conns": "a connection without use is closed after a while",
    "service.local_mode": "the flag --local decides, as in the released server",
    "service.write_timeout": "answers are short, and logs have log_stream_timeout",
    "otel.disable_database_otel_scan": "the database has no spans",
    "otel.disable_redirect_otel_logs": "the log reports once what keeps telemetry from being sent",
    "otel.enable_ecs_resource_detection": "additional_attributes can name the place of the server",
    "sidecar.eval_hub.token": "in a cluster sidecars have the tokens of their pods",
    "sidecar.init_container.*": "decided for each Job",
    "sidecar.local.*": "for the sidecar's own file",
    "sidecar.mlflow.token_path": "in a cluster sidecars have the tokens of their pods",
    "sidecar.mlflow.workspace": "the tenant is the workspace",
    "sidecar.model.auth_secret_mount_path": "decided for each Job",
    "sidecar.model.url": "decided for each Job",
}
"""Keys of the released server (a final ``*`` stands for all below) that are validated and have no effect; and why."""


class Key(Struct, kw_only=True, frozen=True):
    """One setting. ``path`` is dotted, ``default`` and ``example`` are values as YAML has them.

    ``default`` is None if the description states what applies instead.
    """

    path: str
    type: Any
    description: str
    default: Any
    example: Any

    @property
    def section(self) -> str:
        return self.path.partition(".")[0]


def keys_below(type_: type[Struct], path: str) -> Iterator[Key]:
    """Yield every key of a settings type, in the order of its fields, nested ones included."""
    for item in msgspec.structs.fields(type_):
        below = f"{path}.{item.encode_name}"
        if nested := struct_in(item.type):
            yield from keys_below(nested, below)
        else:
            yield _key(below, item)


def key_paths(type_: type[Struct], path: str) -> list[str]:
    """Dotted key of every field of ``type_``, whose section is ``path``."""
    return [key.path for key in keys_below(type_, path)]


def all_keys(plugin_sections: Mapping[str, Sequence[type[Struct]]]) -> dict[str, list[Key]]:
    """Dotted key → its descriptions: more than one where several plugins read the same section."""
    sections = {name: [type_] for name, type_ in {**CORE_SECTIONS, "secrets": SecretFiles}.items()}
    found: dict[str, list[Key]] = {}
    for name, types in {**plugin_sections, **sections}.items():
        for type_ in types:
            for key in keys_below(type_, name):
                found.setdefault(key.path, []).append(key)
    return found


def as_text(duration: float) -> str:
    """A duration as configuration files write it, such as ``15s``."""
    for seconds, unit in ((3600, "h"), (60, "m")):
        if duration >= seconds and duration % seconds == 0:
            return f"{duration / seconds:g}{unit}"
    return f"{duration:g}s"


def _key(path: str, item: msgspec.structs.FieldInfo) -> Key:
    type_, meta = (
        (*get_args(item.type), None)[:2] if get_origin(item.type) is Annotated else (item.type, None)
    )
    meta = meta if isinstance(meta, Meta) else Meta()
    default = _as_yaml(item.default_factory() if callable(item.default_factory) else item.default)
    absent = default in ("", None, [], {}) or default is msgspec.NODEFAULT
    example = (meta.examples or [not default if isinstance(default, bool) else default])[0]
    return Key(
        path=path,
        type=type_,
        description=meta.description or "",
        default=None if absent else default,
        example=example,
    )


def _as_yaml(value: Any) -> Any:
    if isinstance(value, Duration):
        return as_text(value)
    return list(cast("tuple[Any, ...]", value)) if isinstance(value, tuple) else value
