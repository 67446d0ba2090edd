"""The page that compares jobs: ``/ui/compare``."""

from __future__ import annotations

from collections.abc import Sequence

from litestar import route
from litestar.di import NamedDependency

from evalhub_server.domain.comparison_view import ChangedSamples, JobComparison
from evalhub_server.domain.lineage_view import Source
from evalhub_server.domain.sample_query import METADATA
from evalhub_server.domain.scoring import finite_number
from evalhub_server.domain.statistics.changes import CHANGES
from evalhub_server.errors import ApiError
from evalhub_server.models.common import Link
from evalhub_server.models.sample import Facet
from evalhub_server.viewer.compare_groups import group_differences
from evalhub_server.viewer.compare_pairs import pairs_of
from evalhub_server.viewer.compare_rows import Run, columns_of, decoded, rows_of, table_of
from evalhub_server.viewer.compare_sample_page import sample_url
from evalhub_server.viewer.compare_start import compare_start
from evalhub_server.viewer.compare_words import GLYPHS, LABELS
from evalhub_server.viewer.compared_jobs import (
    COMPARED,
    OPTION_NAMES,
    ROW_FILTERS,
    SHOWN,
    baselines_state,
    chosen_jobs,
    compared_jobs,
    compared_question,
    row_filter,
)
from evalhub_server.viewer.facet_menu import FacetLine, facet_line, metadata_line
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
    compared_question(query)  # a wrong value is refused before jobs are chosen
    size, offset = query.size(), query.integer("offset", 0)
    base, others = chosen_jobs(query)
    named = await baselines_state(services, request.identity, (base, *others))
    state = PageState(request, query, services, named)
    if (known := await state.known_response()) is not None:
        return known
    if not base or not others:
        return await page_response(request, query, await compare_start(request, services, base), state)
    compared = await compared_jobs(request, services, query, base, others)
    runs, jobs, views, question = compared.runs, compared.jobs, compared.views, compared.question
    comparison = await comparison_of(services, jobs, views, question)
    name = query.text("benchmark") or _default_benchmark(comparison)
    samples: ChangedSamples | None = None
    why = ""
    changes: SampleChanges | None = None
    if name and len(jobs) > 1:
        try:
            changes = await changed_samples(services, jobs, views, name, question)
        except ApiError as error:
            if error.status != 404 or error.code == "resource_not_found":
                raise
            why = error.message
    by = query.text("by")
    keys: Sequence[str] = ()
    if changes is not None:
        rows, facets = await wanted.rows(changes, FACETS)
        items = [decoded(each) for each in await changes.read(rows[offset : offset + size])]
        first = Link(href=query.url())
        samples = changes.page(first, None, size, len(rows), items, facets)
        keys = [each.name.removeprefix(METADATA) for each in facets if each.name.startswith(METADATA)]
    groups = await group_differences(services, compared, name, by) if changes is not None else {}
    values = {
        "groups": groups,
        "runs": runs,
        "comparison": comparison,
        "pairs": pairs_of(query, comparison, runs),
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
        "facets": [_facet(query, each) for each in samples.facets if _is_choice(query, each)]
        if samples
        else [],
        "by": by,
        "parts": [(key, query.url(by=key), key == by) for key in keys],
        "sort": wanted.conditions.sort,
        "sorts": {
            "sample_id": query.url(
                sort="-sample_id" if wanted.conditions.sort == "sample_id" else "sample_id", offset=None
            ),
            "delta": query.url(sort=None if wanted.conditions.sort == "-delta" else "-delta", offset=None),
        },
        "options": question.options,
        "weights": question.weights,
        "allowed_options": query.chips(OPTION_NAMES),
        "run_links": _run_links(query, runs),
        "filters": query.chips(ROW_FILTERS),
        "kept": _kept(query, "q"),
        "kept_options": _kept(query, *OPTION_NAMES),
        "diff": wanted.diff,
        **query.row_links(len(samples.items) if samples else 0, samples.total_count if samples else 0),
    }
    page = Page(
        name="compare",
        title=_title(runs),
        section="/ui/jobs",
        values=values,
        data=lambda: {
            "runs": runs,
            "comparison": comparison,
            "samples": samples,
            "no_samples": why or None,
            "groups": {job_id: each.comparisons for job_id, each in groups.items()},
        },
        table=table_of(samples, runs),
    )
    return await page_response(request, query, page, state)


def _kept(query: PageQuery, *without: str) -> list[tuple[str, str]]:
    """The parameters that a form keeps: all but its own ones and the row to begin with."""
    names = [name for name in PARAMETERS if name not in (*without, "offset", "job")]
    return [(name, text) for name in names for text in query.texts(name)]


def _facet(query: PageQuery, facet: Facet) -> FacetLine:
    is_metadata = facet.name.startswith(METADATA)
    return metadata_line(query, facet) if is_metadata else facet_line(query, facet.name, facet)


def _is_choice(query: PageQuery, facet: Facet) -> bool:
    """Whether a facet has more than one value, or is filtered by."""
    given = query.texts("metadata" if facet.name.startswith(METADATA) else facet.name)
    return facet.distinct > 1 or bool(given)


def _run_links(query: PageQuery, runs: Sequence[Run]) -> dict[str, tuple[str, str]]:
    """By letter, the URLs of the page with the run as the baseline, and without it; empty where there is none."""
    references = [each.reference for each in runs]
    kept = {name: query.texts(name) for name in PARAMETERS if name not in ("job", "offset")}

    def url(base: str, others: Sequence[str]) -> str:
        return with_query(query.path, {**kept, "base": [base], "with": list(others)})

    found: dict[str, tuple[str, str]] = {}
    for each in runs[1:]:
        others = [reference for reference in references if reference != each.reference]
        without = url(others[0], others[1:]) if len(others) > 1 else ""
        found[each.letter] = ("" if each.missing else url(each.reference, others), without)
    return found


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


def _totals(samples: ChangedSamples) -> dict[str, int | None]:
    """The changes that occur, with the number of samples; None with several candidates, whose counts overlap."""
    counted = [each.counts for each in samples.candidates if not each.no_samples]
    totals: dict[str, int | None] = {}
    for change in CHANGES:
        if any(change in each for each in counted):
            totals[change] = counted[0].get(change) if len(counted) == 1 else None
    return totals | ({OTHER_CONTENT: samples.other_content} if samples.other_content else {})
