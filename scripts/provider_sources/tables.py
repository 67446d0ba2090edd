"""The hand-written half of a provider file: its head, and what to list under which category."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, kw_only=True)
class Table:
    """``head`` goes into the provider file as it stands.

    ``categories`` maps a category to ids, in the order of the file; sources that list everything use it to map the
    framework's own groups instead. ``primary``, ``thresholds``, ``filters`` and ``requires`` correct what is derived.
    ``judged`` are tasks with a second model that their scorers do not show. ``extra`` are ids that are listed besides, in the
    category that the released catalogue has.

    ``aliases`` maps ids to the benchmarks that they are other names of, ``metric_aliases`` names of metrics to candidates among
    the framework's own. ``descriptions``, ``requires``, ``defaults`` (parameters) and ``metrics`` (of tasks in Python) are by
    id; ``twins`` maps ids to the generating twin.

    ``also`` are ids that the adapter of the community knows, each with the benchmark that it is another name of. ``newer`` and ``first_step`` are profiles of load tests that the adapter of the community lacks, and those of which it reports the
    first of several steps.
    """

    head: str = ""
    categories: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    primary: dict[str, str] = field(default_factory=dict[str, str])
    thresholds: dict[str, float] = field(default_factory=dict[str, float])
    names: dict[str, str] = field(default_factory=dict[str, str])
    skip: list[str] = field(default_factory=list[str])
    no_verdict: list[str] = field(default_factory=list[str])
    extra: list[str] = field(default_factory=list[str])
    judged: list[str] = field(default_factory=list[str])
    aliases: dict[str, str] = field(default_factory=dict[str, str])
    metric_aliases: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    descriptions: dict[str, str] = field(default_factory=dict[str, str])
    requires: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    defaults: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    twins: dict[str, str] = field(default_factory=dict[str, str])
    filters: dict[str, str] = field(default_factory=dict[str, str])
    metrics: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    also: dict[str, str] = field(default_factory=dict[str, str])
    newer: list[str] = field(default_factory=list[str])
    first_step: list[str] = field(default_factory=list[str])

    @classmethod
    def load(cls, provider_id: str) -> Table:
        """Read ``data/<provider id>.head.yaml`` and ``data/<provider id>.table.yaml``; the table may be missing."""
        table = _DATA / f"{provider_id}.table.yaml"
        values: dict[str, Any] = yaml.safe_load(table.read_text("utf-8")) if table.is_file() else {}
        return cls(head=(_DATA / f"{provider_id}.head.yaml").read_text("utf-8"), **values)

    def category(self, key: str, otherwise: str = "general") -> str:
        """The category that lists ``key``."""
        return next((name for name, keys in self.categories.items() if key in keys), otherwise)
