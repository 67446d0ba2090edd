"""One spelling for what provider files and requests spell in several ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from evalhub_server.models.common import Json

_KEYS = {
    "cpurequest": "cpu_request",
    "memoryrequest": "memory_request",
    "cpulimit": "cpu_limit",
    "memorylimit": "memory_limit",
    "imagepullpolicy": "image_pull_policy",
}
_PULL_POLICIES = {"ifnotpresent": "if_not_present", "always": "always"}
_WELL_KNOWN = ("local", "k8s")


def normal_runtime(runtime: Json) -> Json:
    """Spell the entries ``local`` and ``k8s`` in snake_case with ``{name, value}`` environments.

    The released server writes Go field names (``CPURequest``, ``Env``) and community files use Kubernetes' own
    (``Always``). Entries that are empty or null mean: not for this runtime. Other runtimes' entries stay as they are.
    """
    normal: Json = {}
    for name, entry in spelled_runtime(runtime).items():
        if not entry:
            continue
        if name in _WELL_KNOWN and isinstance(entry, dict):
            normal[name] = _normal_entry(cast("Json", entry))
        else:
            normal[name] = entry  # decoding names the wrong type
    return normal


def spelled_runtime(runtime: Json) -> Json:
    """Spell only the keys of ``local`` and ``k8s`` as the server writes them; values stay, null ones too."""
    spelled: Json = {}
    for name, entry in runtime.items():
        name, *_ = spelled_path((str(name),))  # noqa: PLW2901  YAML's keys may be numbers
        if name in _WELL_KNOWN and isinstance(entry, dict):
            fields = cast("Json", entry)
            entry = {spelled_path((name, str(key)))[1]: value for key, value in fields.items()}  # noqa: PLW2901
        spelled[name] = entry
    return spelled


def spelled_path(path: Sequence[str]) -> tuple[str, ...]:
    """Spell the keys of a path below ``runtime`` as the server writes them: ``k8s/Image`` becomes ``k8s/image``."""
    name, *keys = path
    if name.lower() not in _WELL_KNOWN:
        return tuple(path)
    for level, key in enumerate(keys):
        lower = key.lower()
        keys[level] = _KEYS.get(lower.replace("_", ""), lower) if level == 0 else lower
        if level == 1 and keys[0] != "env" and lower == "node_selector":
            break  # labels of nodes follow
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
    """``{name, value}`` with the value as text, YAML's true as "1" like the released server."""
    if not isinstance(item, dict):
        return item
    entry = cast("Json", item)
    lower = {str(key).lower(): value for key, value in entry.items()}
    value = lower.get("value", "")
    if isinstance(value, bool):
        value = "1" if value else "0"
    return {"name": str(lower.get("name") or ""), "value": "" if value is None else str(value)}
