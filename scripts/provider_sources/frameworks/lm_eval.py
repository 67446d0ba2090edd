"""lm_eval: YAML files under ``lm_eval/tasks``, one task or group each, with includes and ``!function`` references."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import yaml

from provider_sources import syntax
from provider_sources.model import Benchmark, Framework, Metric, starting_threshold
from provider_sources.tables import Table
from provider_sources.wheel import Wheel

FRAMEWORK = Framework(
    provider_id="lm_evaluation_harness", package="lm_eval", title="LM Evaluation Harness", licence="MIT"
)
_TASKS = "lm_eval/tasks"
CHOICE = "Multiple choice"
_KINDS = {
    "multiple_choice": CHOICE,
    "generate_until": "Free generation",
    "loglikelihood": "Log-likelihood of a continuation",
    "loglikelihood_rolling": "Log-likelihood of whole texts",
}
#: Keys of a group itself; every other key is a setting of its tasks.
_GROUP_KEYS = {
    "aggregate_metric_list",
    "group",
    "group_alias",
    "include",
    "metadata",
    "tag",
    "task",
    "version",
}
Config = dict[str, Any]


class _Loader(yaml.CSafeLoader if TYPE_CHECKING else getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
    """Reads ``!function module.name`` as the text ``function:name``."""


def _function(_loader: _Loader, _suffix: str, node: yaml.Node) -> str:
    return f"function:{str(node.value).rpartition('.')[2]}"


_Loader.add_multi_constructor("!", _function)  # pyright: ignore[reportUnknownMemberType]


class Registry:
    """Tasks and groups by name. Files are parsed on demand: there are fourteen thousand."""

    def __init__(self, wheel: Wheel) -> None:
        self._files = wheel.under(_TASKS, "")
        self._parsed: dict[str, Config] = {}
        self._path_of: dict[str, str] = {}
        self._tagged: dict[str, list[str]] = {}
        for path in self._files:
            if not path.endswith("yaml"):
                continue  # included at most
            config = self._load(path)
            name = (
                config.get("group") if "class" not in config and config.get("group") else config.get("task")
            )
            if isinstance(name, str):
                self._path_of.setdefault(name, path)
                for tag in _names(self._merged(path).get("tag")):
                    self._tagged.setdefault(tag, []).append(name)
        metrics = syntax.parse(wheel.files.get("lm_eval/api/metrics.py", ""))
        registry = syntax.parse(wheel.files.get("lm_eval/api/registry.py", ""))
        self.higher_is_better = dict(_registered(metrics))
        self.aggregation = dict(_aggregations(metrics))
        self.default_metrics = dict(_default_metrics(registry))

    def __contains__(self, name: str) -> bool:
        return name in self._path_of

    def names(self) -> set[str]:
        """The names of all tasks, groups and tags."""
        return {*self._path_of, *self._tagged}

    def config(self, name: str) -> Config:
        """The whole configuration, includes merged; local keys win."""
        return self._merged(self._path_of[name])

    def leaves(self, name: str) -> list[Config]:
        """The tasks of a group, of a tag, or the task itself, in the order of the registry."""
        return list(self._leaves(name, {}, set()))

    def _leaves(self, member: Any, settings: Config, seen: set[str]) -> Iterator[Config]:
        """``member`` is a name, or a map: a name with settings, or a group or task of its own. Outer settings win."""
        own: Config = cast("Config", member) if isinstance(member, dict) else {}
        name = str(own.get("group") or own.get("task") or cast("Any", member))
        if name in seen:
            return
        seen.add(name)
        if name not in self and name in self._tagged:
            for task in self._tagged[name]:
                yield from self._leaves(task, settings, seen)
            return
        config: Config = (self.config(name) if name in self else {}) | own
        if not _is_group(config):
            yield config | settings
            return
        for_tasks = {key: value for key, value in config.items() if key not in _GROUP_KEYS} | settings
        for child in _listed(config.get("task")):
            yield from self._leaves(child, for_tasks, seen)

    def _load(self, path: str) -> Config:
        if path not in self._parsed:
            loaded: Any = yaml.load(self._files[path], Loader=_Loader)  # noqa: S506  a safe loader
            self._parsed[path] = cast("Config", loaded) if isinstance(loaded, dict) else {}
        return self._parsed[path]

    def _merged(self, path: str) -> Config:
        config = dict(self._load(path))
        merged: Config = {}
        for include in _names(config.pop("include", None)):
            target = posixpath.normpath(posixpath.join(posixpath.dirname(path), include))
            if target in self._files:
                merged |= self._merged(target)
        return merged | config


def tasks(wheels: dict[str, Wheel]) -> set[str]:
    """The names of all tasks, groups and tags."""
    return Registry(wheels[FRAMEWORK.package]).names()


def read(wheels: dict[str, Wheel], table: Table) -> list[Benchmark]:
    """The tasks and groups that the table names.

    Raises:
        KeyError: the registry lacks one of them, or it has no score of its own.
    """
    registry = Registry(wheels[FRAMEWORK.package])
    listed = {name: category for category, names in table.categories.items() for name in names}
    listed |= dict.fromkeys(table.extra, "general")
    if missing := [name for name in listed if name not in registry]:
        raise KeyError(f"not in this release of {FRAMEWORK.package}: {' '.join(missing)}")
    return [_benchmark(name, category, registry, table) for name, category in listed.items()]


def _benchmark(name: str, category: str, registry: Registry, table: Table) -> Benchmark:
    config, leaves = registry.config(name), registry.leaves(name)
    directions: dict[str, bool] = {}
    for leaf in reversed(leaves):
        directions |= _metrics(leaf, registry)
    if _is_group(config):
        listed = [str(item["metric"]) for item in _maps(config.get("aggregate_metric_list"))]
        # A group defines only what is averaged; the direction comes from its tasks.
        metrics = list(dict.fromkeys(metric.removeprefix("function:") for metric in listed))
    else:
        metrics = list(_metrics(config, registry)) or table.metrics.get(name, [])
    if not metrics:
        raise KeyError(f"{name} has no score of its own in {FRAMEWORK.package}")
    primary = table.primary.get(name) or ("acc_norm" if "acc_norm" in metrics else metrics[0])
    lower = not directions.get(primary, registry.higher_is_better.get(primary, True))
    options = {_answers(leaf) for leaf in leaves}
    choices = options.pop() if len(options) == 1 else 0
    derived = starting_threshold(primary, lower_is_better=lower, choices=choices)
    shots = {int(leaf.get("num_fewshot") or 0) for leaf in leaves}
    return Benchmark(
        id=name,
        name=table.names.get(name, ""),
        category=category,
        description=_description(config, leaves, choices),
        choices=choices if _kind(leaves) == CHOICE else 0,
        metrics=tuple(metrics),
        few_shot=shots.pop() if len(shots) == 1 else 0,
        primary="" if name in table.no_verdict else primary,
        lower_is_better=lower,
        threshold=table.thresholds.get(name, derived),
        requires=_requires(leaves),
        groups="strata" if _is_group(config) and len(leaves) > 1 else "",
        properties=tuple(
            Metric.named(
                metric,
                lower_is_better=metric != primary and not directions.get(metric, True),
                mean=all(_is_mean(metric, leaf, registry) for leaf in leaves) and _is_pooled(metric, config),
                filter=_filter(metric, config, table.filters.get(name, "")),
            )
            for metric in metrics
        ),
    )


def _requires(leaves: list[Config]) -> tuple[str, ...]:
    """Log-likelihoods of given answers need the log-probabilities of prompts, generation needs chat only."""
    kinds = {str(leaf.get("output_type", "generate_until")) == "generate_until" for leaf in leaves}
    return tuple(name for name, kind in (("chat", True), ("prompt_logprobs", False)) if kind in kinds)


def _is_mean(metric: str, task: Config, registry: Registry) -> bool:
    """Whether the task's score is the mean of the samples' scores."""
    for item in _maps(task.get("metric_list")):
        if str(item["metric"]).removeprefix("function:") == metric:
            return str(item.get("aggregation") or registry.aggregation.get(metric, "mean")) == "mean"
    return registry.aggregation.get(metric, "mean") == "mean"


def _is_pooled(metric: str, config: Config) -> bool:
    """Whether a group's score is the mean over all samples, and not over its tasks. True for a task."""
    items = [item for item in _maps(config.get("aggregate_metric_list")) if item["metric"] == metric]
    return all(bool(item.get("weight_by_size", True)) for item in items)


def _filter(metric: str, config: Config, chosen: str) -> str:
    """The filter of the metric: of several, the chosen one, else the one that finds the answer in a chat model's text."""
    if _is_group(config):
        items = [item for item in _maps(config.get("aggregate_metric_list")) if item["metric"] == metric]
        names = [name for item in items for name in _names(item.get("filter_list"))]
    else:
        names = [str(item["name"]) for item in _maps(config.get("filter_list"))]
    if chosen and chosen not in names:
        raise KeyError(f"{config.get('group') or config.get('task')} has no filter '{chosen}': {names}")
    return chosen or ("flexible-extract" if "flexible-extract" in names else next(iter(names), ""))


def _is_group(config: Config) -> bool:
    """Whether a configuration is of a group; tasks in Python may name one that they belong to."""
    return "group" in config and "class" not in config


def _answers(task: Config) -> int:
    """Return the number of answer choices; 0 if it varies or the registry has none."""
    choices = task.get("doc_to_choice")
    return len(cast("list[Any]", choices)) if isinstance(choices, list) else 0


def _kind(leaves: list[Config]) -> str:
    kinds = {_KINDS.get(str(leaf.get("output_type", "generate_until")), "Mixed") for leaf in leaves}
    return kinds.pop() if len(kinds) == 1 else "Mixed tasks"


def _description(config: Config, leaves: list[Config], choices: int) -> str:
    kind = _kind(leaves)
    if choices and kind == CHOICE:
        kind += f" between {choices} answers"
    sources = sorted({str(leaf["dataset_path"]) for leaf in leaves if leaf.get("dataset_path")})
    sources = [source for source in sources if source not in ("json", "csv", "text", "parquet")]
    where = f" on the data set {sources[0]}" if len(sources) == 1 else ""
    if not _is_group(config) and config.get("dataset_name") and where:
        where += f" ({config['dataset_name']})"
    if len(sources) > 1:
        where = f" on {len(sources)} data sets"
    unsafe = " Runs code that the model writes." if any(leaf.get("unsafe_code") for leaf in leaves) else ""
    return f"{kind}{where}{f'; mean over {len(leaves)} tasks' if _is_group(config) else ''}.{unsafe}"


def _metrics(config: Config, registry: Registry) -> dict[str, bool]:
    """Metric names of a task with ``higher_is_better``."""
    found: dict[str, bool] = {}
    for item in _maps(config.get("metric_list")):
        name = str(item["metric"]).removeprefix("function:")
        higher = bool(item.get("higher_is_better", registry.higher_is_better.get(name, True)))
        # The code benchmarks' function returns one score for each k.
        names = [f"pass@{k}" for k in item["k"]] if name == "pass_at_k" and "k" in item else [name]
        found |= dict.fromkeys(names, higher)
    if not found and "class" not in config:
        kind = str(config.get("output_type", "generate_until"))
        found = {
            name: registry.higher_is_better.get(name, True) for name in registry.default_metrics.get(kind, ())
        }
    return found


def _maps(value: Any) -> list[Config]:
    if isinstance(value, dict):
        return [cast("Config", value)]
    return [cast("Config", item) for item in cast("list[Any]", value or []) if isinstance(item, dict)]


def _names(value: Any) -> Iterator[str]:
    """The texts in a text or a list."""
    return (item for item in _listed(value) if isinstance(item, str))


def _listed(value: Any) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else [value]


def _registered(tree: Any) -> Iterator[tuple[str, bool]]:
    for call in syntax.calls(tree, "register_metric"):
        name, higher = syntax.text(syntax.keyword(call, "metric")), syntax.keyword(call, "higher_is_better")
        if name is not None and higher is not None:
            yield name, bool(getattr(higher, "value", True))


def _aggregations(tree: Any) -> Iterator[tuple[str, str]]:
    for call in syntax.calls(tree, "register_metric"):
        name = syntax.text(syntax.keyword(call, "metric"))
        if name is not None:
            yield name, syntax.text(syntax.keyword(call, "aggregation")) or "mean"


def _default_metrics(tree: Any) -> Iterator[tuple[str, list[str]]]:
    mapping: Any = syntax.assigned(tree.body, "DEFAULT_METRIC_REGISTRY")
    for key, value in zip(getattr(mapping, "keys", ()), getattr(mapping, "values", ()), strict=True):
        yield syntax.text(key) or "", syntax.texts(value)
