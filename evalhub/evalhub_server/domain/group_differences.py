"""The differences of two runs of a benchmark in each group of its samples, such as a subject."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import repeat

from msgspec.structs import replace

from evalhub_server.domain.group_scores import MAX_GROUPS, part_of
from evalhub_server.domain.statistics.compare import compare_runs
from evalhub_server.domain.statistics.inputs import CompareOptions, Run
from evalhub_server.domain.statistics.results import BenchmarkComparison
from evalhub_server.domain.statistics.suite import adjust


def group_differences(
    baseline: Run | None,
    candidate: Run | None,
    options: CompareOptions,
    labels: Mapping[str, str] | None = None,
) -> tuple[BenchmarkComparison, ...]:
    """The comparison of the samples of each group, named as the group, in the order of names.

    A sample's group is the baseline's; ``labels`` has other parts by sample id. P values are adjusted over the groups by Holm's
    method. Empty where :func:`.group_scores` is, and where no group has a difference.
    """
    if baseline is None or candidate is None:
        return ()
    first, second = baseline.items, candidate.items
    if first is None or second is None:
        return ()
    if labels is None:
        if not first.clusters or baseline.rules.groups == "clusters":
            return ()
        own = zip(second.sample_ids, second.clusters or repeat(None), strict=False)
        labels = {name: group or "" for name, group in own}
        labels |= {name: group or "" for name, group in zip(first.sample_ids, first.clusters, strict=True)}
    ones = [labels.get(name, "") for name in first.sample_ids]
    others = [labels.get(name, "") for name in second.sample_ids]
    names = sorted(set(ones))
    if not 1 < len(names) <= MAX_GROUPS:
        return ()
    found = [
        replace(
            compare_runs(
                part_of(baseline, first, [row for row, each in enumerate(ones) if each == name]),
                part_of(candidate, second, [row for row, each in enumerate(others) if each == name]),
                options,
            ),
            name=name,
        )
        for name in names
    ]
    return tuple(adjust(found, options.alpha)) if any(each.difference for each in found) else ()
