"""The differences between jobs in each group of a benchmark's samples, as the page of comparisons shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup
from msgspec import Struct

from evalhub_server.domain.statistics.results import BenchmarkComparison
from evalhub_server.viewer.charts import Effect, forest_plot
from evalhub_server.viewer.compare_words import limits_of, side_of
from evalhub_server.viewer.compared_jobs import ComparedJobs
from evalhub_server.viewer.facet_menu import MAX_KEY_CHARACTERS
from evalhub_server.viewer.text import visible
from evalhub_server.web.comparison_groups import group_comparison
from evalhub_server.web.services import Services


class GroupDifferences(Struct, kw_only=True, frozen=True):
    """The comparison of each group, and the plot of their differences."""

    comparisons: Sequence[BenchmarkComparison]
    plot: Markup


async def group_differences(
    services: Services, compared: ComparedJobs, benchmark: str, by: str
) -> dict[str, GroupDifferences]:
    """The differences by group from the baseline, by the id of the other job; jobs without any are left out."""
    letters = {each.job_id: each.letter for each in compared.runs}
    found = await group_comparison(services, compared.jobs, compared.views, benchmark, compared.question, by)
    what = visible(by, MAX_KEY_CHARACTERS) if by else "group"
    return {
        each.job_id: GroupDifferences(
            comparisons=each.groups,
            plot=forest_plot(
                effects(each.groups, {}),
                title=f"Differences of {letters[each.job_id]} from A by {what}",
                margin=compared.question.options.margin,
            ),
        )
        for each in found.candidates
        if each.groups
    }


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
