"""The page that compares jobs: ``/ui/compare``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from litestar import route
from litestar.di import NamedDependency
from markupsafe import Markup
from msgspec import Struct

from evalhub_server.domain.comparison_view import ChangedSamples, JobComparison
from evalhub_server.domain.lineage_view import Source
from evalhub_server.domain.scoring import finite_number
from evalhub_server.domain.statistics.changes import CHANGES
from evalhub_server.domain.statistics.results import BenchmarkComparison, SuiteComparison
from evalhub_server.errors import ApiError
from evalhub_server.models.common import Link
from evalhub_server.viewer.charts import Effect, forest_plot
from evalhub_server.viewer.compare_groups import effects, group_differences
from evalhub_server.viewer.compare_rows import Run, columns_of, decoded, rows_of, table_of
from evalhub_server.viewer.compare_sample_page import sample_url
from evalhub_server.viewer.compare_start import compare_start
from evalhub_server.viewer.compare_words import GLYPHS, LABELS, half_width, limits_of, side_of
from evalhub_server.viewer.compared_jobs import (
    COMPARED,
    ROW_FILTERS,
    SHOWN,
    chosen_jobs,
    compared_jobs,
    row_filter,
)
from evalhub_server.viewer.facet_menu import facet_line
from evalhub_server.viewer.numbers import decimals
from evalhub_server.viewer.page import Page, PageState, page_response, redirect
from evalhub_server.viewer.page_query import PageQuery, with_query
from evalhub_server.web.comparisons import comparison_of
from evalhub_server.web.paths import url_prefix
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.sample_changes import FACETS, OTHER_CONTENT, SampleChanges, changed_samples
from evalhub_server.web.services import Services

PARAMETERS = (*COMPARED, "job", "size", "offset")
MAX_METRICS = 60


@route("/compare", http_method=READ_METHODS, include_in_schema=False)
async def compare_page(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """A baseline with up to seven jobs: verdicts, differences by benchmark, and the samples that changed."""
    query = PageQuery(request, PARAMETERS)
    if chosen := query.texts("job"):
        return _redirect(request, query, chosen)
    wanted = row_filter(query)
    state = PageState(request, query, services)
    if (known := await state.known_response()) is not None:
        return known
    base, others = chosen_jobs(query)
    if not base or not others:
        return await page_response(request, query, await compare_start(request, services, base), state)
    compared = await compared_jobs(request, services, query, base, others)
    runs, jobs, views, question = compared.runs, compared.jobs, compared.views, compared.question
    comparison = await comparison_of(services, jobs, views, question)
    name = query.text("benchmark") or _default_benchmark(comparison)
    samples: ChangedSamples | None = None
    why = ""
    changes: SampleChanges | None = None
    size, offset = query.size(), query.integer("offset", 0)
    if name and len(jobs) > 1:
        try:
            changes = await changed_samples(services, jobs, views, name, question)
        except ApiError as error:
            if error.status != 404 or error.code == "resource_not_found":
                raise
            why = error.message
    if changes is not None:
        rows, facets = await wanted.rows(changes, FACETS)
        items = [decoded(each) for each in await changes.read(rows[offset : offset + size])]
        first = Link(href=query.url())
        samples = changes.page(first, None, size, len(rows), items, facets)
    groups = await group_differences(services, compared, name) if changes is not None else {}
    values = {
        "groups": groups,
        "runs": runs,
        "comparison": comparison,
        "pairs": _pairs(query, comparison, runs),
        "benchmark": name,
        "samples": samples,
        "no_samples": why,
        "rows": rows_of(
            samples, url_prefix(request.scope), sample_url(request, query, name), diff=wanted.diff
        )
        if samples
        else [],
        "columns": columns_of(runs, samples),
        "metrics": _metrics(query, views[0].get(name)),
        "metric": question.metric,
        "show": wanted.show,
        "shown": SHOWN,
        "labels": LABELS,
        "glyphs": GLYPHS,
        "changes_of": {c.job_id: c.counts for c in samples.candidates if not c.no_samples} if samples else {},
        "totals": _totals(samples) if samples else {},
        "facets": [facet_line(query, each.name, each) for each in samples.facets] if samples else [],
        "filters": query.chips(ROW_FILTERS),
        "kept": [
            (key, text)
            for key in PARAMETERS
            if key not in ("q", "offset", "job")
            for text in query.texts(key)
        ],
        "diff": wanted.diff,
        **query.row_links(len(samples.items) if samples else 0, samples.total_count if samples else 0),
    }
    page = Page(
        name="compare",
        title=_title(runs),
        section="/ui/jobs",
        values=values,
        data={
            "runs": runs,
            "comparison": comparison,
            "samples": samples,
            "no_samples": why or None,
            "groups": {job_id: each.comparisons for job_id, each in groups.items()},
        },
        table=table_of(samples, runs),
    )
    return await page_response(request, query, page, state)


def _redirect(request: ApiRequest, query: PageQuery, chosen: list[str]) -> RawResponse:
    """From the check boxes of the list of jobs, of which the last one is the oldest: the baseline."""
    base, *others = dict.fromkeys(query.texts("base") or chosen[-1:] + chosen[:-1])
    kept = {name: query.texts(name) for name in PARAMETERS if name not in ("base", "with", "job")}
    values = {"base": [base], "with": [each for each in (*others, *chosen) if each != base], **kept}
    values["with"] = list(dict.fromkeys(values["with"]))
    return redirect(with_query(f"{url_prefix(request.scope)}/ui/compare", values))


def _title(runs: Sequence[Run]) -> str:
    names = [each.model or each.name or each.reference for each in runs]
    return f"{', '.join(names[1:])} against {names[0]} · Compare"


def _metrics(query: PageQuery, source: Source | None) -> list[tuple[str, str]]:
    """The metrics that the baseline has of a benchmark, with the addresses that compare them."""
    result = source.record.result if source is not None else None
    names = [
        name for name, value in (result.metrics if result else {}).items() if finite_number(value) is not None
    ]
    return [(name, query.url(metric=name, offset=None)) for name in names[:MAX_METRICS]]


def _default_benchmark(comparison: JobComparison) -> str:
    """The benchmark with the most samples that became worse."""
    found: dict[str, int] = {}
    for candidate in comparison.candidates:
        for each in candidate.comparison.benchmarks:
            found[each.name] = max(found.get(each.name, 0), each.flips.broken if each.flips else 0)
    return max(found, key=lambda name: found[name], default="")


class Pair(Struct, kw_only=True, frozen=True):
    """A candidate with its comparison and the plot of its differences."""

    run: Run
    comparison: SuiteComparison
    configuration: Sequence[Any]
    plot: Markup
    links: Mapping[str, str]
    not_comparable: Sequence[BenchmarkComparison]
    score_places: int
    difference_places: int


def _pairs(query: PageQuery, comparison: JobComparison, runs: Sequence[Run]) -> list[Pair]:
    found = {each.job_id: each for each in runs}
    pairs: list[Pair] = []
    for candidate in comparison.candidates:
        suite = candidate.comparison
        links = {
            each.name: query.url(benchmark=each.name, offset=None, group=None, q=None)
            for each in suite.benchmarks
        }
        pairs.append(
            Pair(
                run=found[candidate.job.job_id],
                comparison=suite,
                configuration=candidate.configuration,
                plot=_plot(suite, links, found[candidate.job.job_id]),
                links=links,
                not_comparable=[each for each in suite.benchmarks if each.verdict == "not_comparable"],
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


def _plot(suite: SuiteComparison, links: Mapping[str, str], run: Run) -> Markup:
    rows: list[Effect] = []
    difference = suite.difference
    if difference is not None and len(suite.benchmarks) > 1:
        interval = difference.interval
        rows.append(
            Effect("Suite", difference.estimate, interval.low, interval.high, 0, side_of(suite.verdict))
        )
    rows += effects(suite.benchmarks, links)
    title = f"Differences of {run.letter} from A by benchmark"
    return forest_plot(rows, title=title, margin=suite.margin) if rows else Markup()


def _totals(samples: ChangedSamples) -> dict[str, int | None]:
    """The changes that occur, with the number of samples; None with several candidates, whose counts overlap."""
    counted = [each.counts for each in samples.candidates if not each.no_samples]
    totals: dict[str, int | None] = {}
    for change in CHANGES:
        if any(change in each for each in counted):
            totals[change] = counted[0].get(change) if len(counted) == 1 else None
    return totals | ({OTHER_CONTENT: samples.other_content} if samples.other_content else {})
