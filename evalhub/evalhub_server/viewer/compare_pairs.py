"""The candidates on the page of comparisons: their verdicts, differences and what makes them not comparable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from markupsafe import Markup
from msgspec import Struct

from evalhub_server.domain.comparison_view import JobComparison
from evalhub_server.domain.statistics.results import BenchmarkComparison, SuiteComparison
from evalhub_server.models.configuration import ConfigurationDifference
from evalhub_server.viewer.charts import Effect, forest_plot
from evalhub_server.viewer.compare_groups import effects
from evalhub_server.viewer.compare_rows import Run
from evalhub_server.viewer.compare_words import ATTENTION, half_width, limits_of, side_of
from evalhub_server.viewer.numbers import decimals
from evalhub_server.viewer.page_query import PageQuery

PARAMETERS = "parameters."
"""What the names of differences in parameters begin with."""


class Pair(Struct, kw_only=True, frozen=True):
    """A candidate with its comparison and the plot of its differences. ``benchmarks`` has the verdicts that need attention first.

    ``allowed``: what to do about benchmarks that are not comparable, with the URLs of the page that compares them nevertheless.
    """

    run: Run
    comparison: SuiteComparison
    benchmarks: Sequence[BenchmarkComparison]
    configuration: Sequence[ConfigurationDifference]
    plot: Markup
    links: Mapping[str, str]
    not_comparable: Sequence[BenchmarkComparison]
    incomplete: Sequence[BenchmarkComparison]
    allowed: Sequence[tuple[str, str]]
    score_places: int
    difference_places: int


def pairs_of(query: PageQuery, comparison: JobComparison, runs: Sequence[Run]) -> list[Pair]:
    found = {each.job_id: each for each in runs}
    pairs: list[Pair] = []
    for candidate in comparison.candidates:
        suite = candidate.comparison
        run = found[candidate.job.job_id]
        benchmarks = sorted(suite.benchmarks, key=lambda each: ATTENTION.index(each.verdict))
        links = {
            each.name: query.url(benchmark=each.name, offset=None, group=None, q=None)
            for each in suite.benchmarks
        }
        pairs.append(
            Pair(
                run=run,
                comparison=suite,
                benchmarks=benchmarks,
                configuration=candidate.configuration,
                plot=_plot(suite, benchmarks, links, run),
                links=links,
                not_comparable=[each for each in benchmarks if each.verdict == "not_comparable"],
                incomplete=[each for each in benchmarks if each.verdict == "incomplete"],
                allowed=_allowed(query, suite, candidate.configuration),
                score_places=decimals(
                    half_width(side.interval)
                    for each in suite.benchmarks
                    for side in (each.baseline, each.candidate)
                    if side is not None
                ),
                difference_places=decimals(
                    half_width(limits_of(each.difference)) for each in suite.benchmarks if each.difference
                ),
            )
        )
    return pairs


def _allowed(
    query: PageQuery, suite: SuiteComparison, configuration: Sequence[ConfigurationDifference]
) -> list[tuple[str, str]]:
    codes = {note.code for each in suite.benchmarks for note in each.reasons}
    found: list[tuple[str, str]] = []
    if "other_parameters" in codes:
        names = [
            each.name.removeprefix(PARAMETERS)
            for each in configuration
            if each.name.startswith(PARAMETERS) and each.name != f"{PARAMETERS}num_examples"
        ]
        words = f"Compare although {', '.join(names)} {'differs' if len(names) == 1 else 'differ'}"
        found.append((words, query.url(allow_parameters=",".join(names), offset=None)))
    if codes & {"other_num_examples", "other_items"}:
        url = query.url(allow_subset="true", offset=None)
        found.append(("Compare the samples that both have, which are no random subset", url))
    if "other_prompts" in codes:
        url = query.url(allow_prompt_change="true", offset=None)
        found.append(("Compare although inputs or targets differ: the prompt is what is compared", url))
    return found


def _plot(
    suite: SuiteComparison, benchmarks: Sequence[BenchmarkComparison], links: Mapping[str, str], run: Run
) -> Markup:
    rows: list[Effect] = []
    difference = suite.difference
    if difference is not None and len(suite.benchmarks) > 1:
        interval = difference.interval
        rows.append(
            Effect("Suite", difference.estimate, interval.low, interval.high, 0, side_of(suite.verdict))
        )
    rows += effects(benchmarks, links)
    title = f"Differences of {run.letter} from A by benchmark"
    return forest_plot(rows, title=title, margin=suite.margin) if rows else Markup()
