"""The released server's catalogue: its ids stay listed, with its names, metrics, numbers and thresholds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from provider_sources.model import Benchmark, Metric
from provider_sources.tables import Table

FACTS = Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "released_catalogue.json"
Facts = dict[str, Any]


def released_benchmarks(provider_id: str) -> list[Facts]:
    """The released benchmarks of a provider; empty if the released server does not have it."""
    providers: list[Facts] = json.loads(FACTS.read_text("utf-8"))["providers"]
    return [facts for each in providers if each["id"] == provider_id for facts in each["benchmarks"]]


def with_released(provider_id: str, benchmarks: Sequence[Benchmark], table: Table) -> list[Benchmark]:
    """The benchmarks, with the released ones in the place of those with the same id, or at the end.

    Raises:
        KeyError: neither the framework nor the table describes a released benchmark.
    """
    released = {facts["id"]: facts for facts in released_benchmarks(provider_id)}
    own = {benchmark.id: benchmark for benchmark in benchmarks}
    merged = [_merged(b, released[b.id], table) if b.id in released else b for b in benchmarks]
    for id_, facts in released.items():
        if id_ not in own:
            target = table.aliases.get(id_, "")
            merged.append(_merged(_unlisted(facts, own.get(target), table), facts, table))
    return [_with_table(benchmark, table) for benchmark in merged]


def _unlisted(facts: Facts, target: Benchmark | None, table: Table) -> Benchmark:
    """A benchmark that the framework does not have under this id; ``target`` is the one that it is an alias of, if that is listed."""
    id_: str = facts["id"]
    description = table.descriptions.get(id_)
    if target is not None:
        described = description or f"Another name of {target.id}. {target.description}"
        return replace(
            target, id=id_, name="", alias_of=target.id, description=described, primary="", threshold=None
        )
    if description is None:
        raise KeyError(f"released benchmark '{id_}': neither the framework nor the table describes it")
    return Benchmark(
        id=id_, description=description, category="", metrics=(), alias_of=table.aliases.get(id_, "")
    )


def _merged(benchmark: Benchmark, facts: Facts, table: Table) -> Benchmark:
    listed: list[str] = facts["metrics"]
    primary: Facts = facts.get("primary_score", {})
    threshold = facts.get("pass_criteria", {}).get("threshold")
    lower = bool(primary.get("lower_is_better"))
    known = {metric.name: metric for metric in benchmark.properties}
    before = known.get(benchmark.primary)
    if before is not None and benchmark.primary != primary.get("metric"):
        # Its direction was the primary score's, which is now of another metric.
        known[before.name] = replace(before, lower_is_better=benchmark.lower_is_better)
    aliases = [_alias(name, benchmark, table) for name in listed if name not in benchmark.metrics]
    return replace(
        benchmark,
        name=facts["name"],
        category=facts["category"],
        metrics=tuple(dict.fromkeys((*listed, *benchmark.metrics))),
        few_shot=facts.get("num_few_shot", 0),
        dataset_size=facts.get("dataset_size", 0),
        tags=tuple(dict.fromkeys((*facts["tags"], *benchmark.tags))),
        primary=primary.get("metric", ""),
        lower_is_better=lower,
        threshold=threshold,
        properties=tuple(({metric.name: metric for metric in aliases} | known).values()),
        score_ranges=tuple(
            (text, _meaning(text, float(threshold or 0), lower_is_better=lower))
            for text in facts.get("agent_score_ranges", ())
        ),
    )


def _alias(name: str, benchmark: Benchmark, table: Table) -> Metric:
    """A released metric that the framework does not report, with the one of its own that means the same, if there is one."""
    own = next((m for m in table.metric_aliases.get(name, ()) if m in benchmark.metrics), "")
    known = next((metric for metric in benchmark.properties if metric.name == own), None)
    return replace(known, name=name, alias_of=own) if known else Metric.named(name, alias_of=own)


def _meaning(text: str, threshold: float, *, lower_is_better: bool) -> str:
    """What scores in a range such as ``0.0-0.25``, ``0.25`` or ``0.25+`` mean for the default threshold."""
    low, _, high = text.partition("-")
    start = float(low.rstrip("+"))
    end = float(high) if high else (float("inf") if low.endswith("+") else start)
    if start == end:
        return "the default threshold itself" if start == threshold else "near the default threshold"
    if start >= threshold:
        return "above the default threshold: " + ("does not pass" if lower_is_better else "passes")
    if end <= threshold:
        return "below the default threshold: " + ("passes" if lower_is_better else "does not pass")
    return "around the default threshold"


def _with_table(benchmark: Benchmark, table: Table) -> Benchmark:
    id_ = benchmark.id
    return replace(
        benchmark,
        requires=tuple(table.requires.get(id_) or benchmark.requires or table.requires.get("", ())),
        twin=table.twins.get(id_, benchmark.twin),
        defaults=benchmark.defaults | table.defaults.get(id_, {}),
    )
