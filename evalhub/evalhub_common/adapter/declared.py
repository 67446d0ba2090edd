"""What the provider declares about a benchmark in ``job.json``: the framework's names of the task and of metrics."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evalhub_common.adapter.json_values import JsonObject, as_list, as_object


def task_name(document: JsonObject) -> str:
    """The name under which the framework has the benchmark: ``alias_of`` if the provider lists it as another name."""
    alias = document.get("alias_of")
    return alias if isinstance(alias, str) and alias else str(document.get("benchmark_id", ""))


def generating_twin(document: JsonObject) -> str | None:
    """The benchmark with the same questions that needs chat completions only, if the provider names one."""
    twin = document.get("generating_twin")
    return twin if isinstance(twin, str) and twin else None


def with_declared_metrics(metrics: Mapping[str, float], document: JsonObject) -> dict[str, float]:
    """The metrics, with those that the provider declares under other names than the framework's.

    A metric with a declared ``filter`` has the value of ``metric,filter`` if that is reported, and one with ``alias_of`` the value of
    that metric unless it is reported itself. Standard errors (``…_stderr``) follow.
    """
    found = dict(metrics)
    for name, source in _sources(document):
        if source not in found or (name in metrics and not source.startswith(f"{name},")):
            continue
        found.pop(f"{name}_stderr", None)  # of another filter
        found |= {name + end: found[source + end] for end in ("", "_stderr") if source + end in found}
    return found


def declared_filters(document: JsonObject) -> dict[str, str]:
    """The filters of metrics, where the provider declares them."""
    return dict(_declared(document, "filter"))


def _sources(document: JsonObject) -> Iterator[tuple[str, str]]:
    """Metrics and the names that have their values, filters first, since an alias may be of a filtered metric."""
    for name, used in _declared(document, "filter"):
        yield name, f"{name},{used}"
    yield from _declared(document, "alias_of")


def _declared(document: JsonObject, key: str) -> Iterator[tuple[str, str]]:
    """Metrics with the text that the provider declares for them under ``key``."""
    for each in as_list(document.get("metric_properties")) or []:
        properties = as_object(each) or {}
        name, value = properties.get("metric"), properties.get(key)
        if isinstance(name, str) and isinstance(value, str) and value:
            yield name, value
