"""Normalization of the ``runtime`` of providers, whose keys and values have several spellings in files and requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from evalhub_server.domain.scalars import scalar_text
from evalhub_server.models.common import Json

_KEYS = {
    "cpurequest": "cpu_request",
    "memoryrequest": "memory_request",
    "cpulimit": "cpu_limit",
    "memorylimit": "memory_limit",
    "imagepullpolicy": "image_pull_policy",
}
_PULL_POLICIES = {"ifnotpresent": "if_not_present", "always": "always"}
_FIRST_PARTY = ("local", "k8s")


def normalize_runtime(runtime: Json) -> Json:
    """Normalize the entries ``local`` and ``k8s``: keys in snake_case, ``env`` as a list of ``{name, value}``.

    The released server writes Go field names (``CPURequest``, ``Env``), and community files use Kubernetes' values
    (``Always``). Empty and null entries are dropped: the provider does not support that runtime. The entries of other
    runtimes are left unchanged.
    """
    normal: Json = {}
    for name, entry in normalize_runtime_keys(runtime).items():
        if not entry:
            continue
        if name in _FIRST_PARTY and isinstance(entry, dict):
            normal[name] = _normal_entry(cast("Json", entry))
        else:
            normal[name] = entry  # decoding reports the wrong type
    return normal


def normalize_runtime_keys(runtime: Json) -> Json:
    """Normalize only the keys of ``local`` and ``k8s``; values, null included, are left unchanged."""
    normal: Json = {}
    for name, entry in runtime.items():
        name, *_ = normalize_runtime_path((str(name),))  # noqa: PLW2901  YAML's keys may be numbers
        if name in _FIRST_PARTY and isinstance(entry, dict):
            fields = cast("Json", entry)
            entry = {  # noqa: PLW2901
                normalize_runtime_path((name, str(key)))[1]: value for key, value in fields.items()
            }
        normal[name] = entry
    return normal


def normalize_runtime_path(path: Sequence[str]) -> tuple[str, ...]:
    """Normalize the keys of a path below ``runtime``: ``("k8s", "Image")`` becomes ``("k8s", "image")``."""
    name, *keys = path
    if name.lower() not in _FIRST_PARTY:
        return tuple(path)
    for level, key in enumerate(keys):
        lower = key.lower()
        keys[level] = _KEYS.get(lower.replace("_", ""), lower) if level == 0 else lower
        if level == 1 and keys[0] != "env" and lower == "node_selector":
            break  # the next key is a node label, which is case-sensitive
    return name.lower(), *keys


def _normal_entry(entry: Json) -> Json:
    normal: Json = {}
    for name, value in entry.items():
        if value is None:
            continue
        if name == "env" and isinstance(value, list):
            normal[name] = [_variable(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
        elif name == "image_pull_policy" and isinstance(value, str):
            normal[name] = _PULL_POLICIES.get(value.lower().replace("_", ""), value)
        else:
            normal[name] = value
    return normal


def _variable(item: Any) -> Any:
    """``{name, value}`` with the value as a string; as in the released server, true becomes "1" and 1e5 "100000"."""
    if not isinstance(item, dict):
        return item
    entry = cast("Json", item)
    lower = {str(key).lower(): value for key, value in entry.items()}
    value = lower.get("value", "")
    text = scalar_text(value) if isinstance(value, bool | int | float) else str(value)
    variable = {"name": str(lower.get("name") or ""), "value": "" if value is None else text}
    source = lower.get("value_from_env")
    return variable if source is None else {**variable, "value_from_env": source}
