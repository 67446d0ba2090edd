"""The differences between jobs in each group of a benchmark's samples, as the page of comparisons shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup
from msgspec import Struct

from evalhub_server.domain.statistics.results import BenchmarkComparison
from evalhub_server.viewer.charts import Effect, forest_plot
from evalhub_server.viewer.compare_words import limits_of, side_of
from evalhub_server.viewer.compared_jobs import ComparedJobs
from evalhub_server.web.services import Services


class GroupDifferences(Struct, kw_only=True, frozen=True):
    """The comparison of each group, and the plot of their differences."""

    comparisons: Sequence[BenchmarkComparison]
    plot: Markup


async def group_differences(
    services: Services, compared: ComparedJobs, benchmark: str
) -> dict[str, GroupDifferences]:
    """The differences by group from the baseline, by the id of the other job; jobs without any are left out."""
    letters = {each.job_id: each.letter for each in compared.runs}
    base, *others = [view.get(benchmark) for view in compared.views]
    found: dict[str, GroupDifferences] = {}
    for (job, _), source in zip(compared.jobs[1:], others, strict=True):
        if base is None or source is None:
            continue
        groups = await services.comparisons.group_differences(base, source, compared.question)
        if groups:
            title = f"Differences of {letters[job.id]} from A by group"
            found[job.id] = GroupDifferences(
                comparisons=groups, plot=forest_plot(effects(groups, {}), title=title)
            )
    return found


def effects(comparisons: Sequence[BenchmarkComparison], links: Mapping[str, str]) -> list[Effect]:
    """The rows of a plot: comparisons that have a difference, at the level of Holm's decision."""
    rows: list[Effect] = []
    for each in comparisons:
        if each.difference is None:
            continue
        interval = limits_of(each.difference)
        rows.append(
            Effect(
                each.name or "(none)",
                each.difference.estimate,
                interval.low,
                interval.high,
                each.n_matched,
                side_of(each.verdict),
                links.get(each.name, ""),
            )
        )
    return rows
