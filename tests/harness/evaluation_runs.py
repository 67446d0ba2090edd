"""Builders of evaluation runs with given scores, for the tests of comparisons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from evalhub_server.domain.statistics.inputs import ItemStatus, MetricRules, Run, RunHeader, RunItems

SHARE = MetricRules(metric="acc", low=0.0, high=1.0)


def a_run(
    scores: Sequence[float | None] | None,
    *,
    rules: MetricRules = SHARE,
    ids: Sequence[str] | None = None,
    statuses: Sequence[ItemStatus] | None = None,
    epochs: Sequence[int] | None = None,
    clusters: Sequence[str | None] | None = None,
    key_hashes: Sequence[str | None] | None = None,
    **header: Any,
) -> Run:
    """A run of ``p/b`` whose samples are ``s0000``, ``s0001`` and so on; no samples for None."""
    items = None
    if scores is not None:
        items = RunItems(
            sample_ids=ids if ids is not None else [f"s{number:04}" for number in range(len(scores))],
            scores=scores,
            epochs=epochs,
            statuses=statuses,
            clusters=clusters,
            key_hashes=key_hashes,
        )
    return Run(
        header=RunHeader(**{"provider_id": "p", "benchmark_id": "b", **header}), rules=rules, items=items
    )


def binary_pair(both: int, fixed: int, broken: int, neither: int) -> tuple[list[float], list[float]]:
    """Scores of a baseline and a candidate with these counts of right and wrong answers."""
    counts: Mapping[tuple[float, float], int] = {
        (1.0, 1.0): both,
        (0.0, 1.0): fixed,
        (1.0, 0.0): broken,
        (0.0, 0.0): neither,
    }
    pairs = [pair for pair, count in counts.items() for _ in range(count)]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]
