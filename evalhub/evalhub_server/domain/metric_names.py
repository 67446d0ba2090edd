"""Names of metrics: a result has a metric under the provider's name if its adapter reports it under another one."""

from __future__ import annotations

from collections.abc import Iterable

from evalhub_server.models.common import Json
from evalhub_server.models.provider import MetricProperties


def with_listed_names(metrics: Json, properties: Iterable[MetricProperties]) -> Json:
    """The metrics, and each missing one with the value of its ``alias_of``; the same object if nothing is added.

    An alias may be of an alias. What the adapter reports keeps its value. Standard errors (``…_stderr``) follow.
    """
    if not metrics:
        return metrics
    aliases = {each.metric: each.alias_of for each in properties if each.alias_of}
    added: Json = {}
    for name in aliases:
        source = _reported(name, aliases, metrics)
        if source is not None and source != name:
            ends = [end for end in ("", "_stderr") if source + end in metrics]
            added |= {name + end: metrics[source + end] for end in ends}
    return metrics | added | metrics if added else metrics


def _reported(name: str, aliases: dict[str, str], metrics: Json) -> str | None:
    """The first of ``name`` and the names that it stands for that the metrics have."""
    seen: set[str] = set()
    while name not in metrics:
        seen.add(name)
        name = aliases.get(name, "")
        if not name or name in seen:
            return None
    return name
