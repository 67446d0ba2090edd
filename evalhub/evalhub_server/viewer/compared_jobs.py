"""The jobs and the rows that a query of the pages of comparisons names: a baseline with other jobs, and filters of their samples."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from msgspec import Struct

from evalhub_server.domain import problems
from evalhub_server.domain.lineage_view import LineageView
from evalhub_server.domain.statistics.changes import CHANGES
from evalhub_server.domain.statistics.columns import MAX_ABS_SCORE
from evalhub_server.domain.statistics.planning import MIN_MARGIN
from evalhub_server.engine.comparisons import Question
from evalhub_server.engine.identity import Identity
from evalhub_server.errors import ApiError
from evalhub_server.models.sample import Facet
from evalhub_server.viewer.compare_rows import Run
from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.web.comparison_query import (
    BY_NAME,
    OPTIONS,
    NamedJob,
    job_of,
    number_of,
    question_of,
    views_of,
)
from evalhub_server.web.comparison_samples import MAX_RUNS
from evalhub_server.web.openapi.operation import names
from evalhub_server.web.request import ApiRequest
from evalhub_server.web.sample_changes import OTHER_CONTENT, RowConditions, SampleChanges, row_conditions
from evalhub_server.web.services import Services

FLIPS, ALL = "flips", "all"
SHOWN = (FLIPS, ALL, *CHANGES, OTHER_CONTENT)
CHANGES_SHOWN = {FLIPS: ("broken", "fixed"), ALL: ()}
ROW_FILTERS = ("group", "metadata", "q")
OPTION_NAMES = ("margin", *names(OPTIONS))
"""What is compared and how, as in the API."""
COMPARED = ("base", "with", "benchmark", "show", *ROW_FILTERS, "sort", "by", "diff", *OPTION_NAMES)
"""The parameters that the pages share."""
LETTERS = "ABCDEFGH"


class RowFilter(Struct, kw_only=True, frozen=True):
    """Which samples are listed, and whether their responses are compared by words (``diff``)."""

    show: str
    conditions: RowConditions
    diff: bool

    async def rows(
        self, changes: SampleChanges, facets: Collection[str] = ()
    ) -> tuple[list[int], tuple[Facet, ...]]:
        """The rows of the list, and the requested facets."""
        wanted = CHANGES_SHOWN.get(self.show, (self.show,))
        return await changes.select(wanted, self.conditions, facets)


class ComparedJobs(Struct, kw_only=True, frozen=True):
    """The jobs of a comparison, the baseline first. ``runs`` also has those that were not found; ``jobs`` and ``views`` do not."""

    runs: Sequence[Run]
    jobs: Sequence[NamedJob]
    views: Sequence[LineageView]
    question: Question


def row_filter(query: PageQuery) -> RowFilter:
    """Raises :class:`ApiError`."""
    return RowFilter(
        show=query.choice("show", SHOWN, FLIPS),
        conditions=row_conditions(query),
        diff=query.choice("diff", ("words", "off"), "words") == "words",
    )


def chosen_jobs(query: PageQuery) -> tuple[str, list[str]]:
    """(reference of the baseline, those of the other jobs); empty if they are not chosen yet. Raises :class:`ApiError`."""
    base = query.text("base")
    others = [each for each in dict.fromkeys(query.texts("with")) if each != base]
    if len(others) >= MAX_RUNS:
        kind = f"list of at most {MAX_RUNS - 1} jobs"
        raise problems.query_parameter_invalid("with", kind, f"{len(others) + 1} jobs")
    return base, others


async def baselines_state(services: Services, identity: Identity, references: Iterable[str]) -> str:
    """The jobs that the baselines among the references stand for: a baseline changes without a change of jobs."""
    found: list[str] = []
    for name in references:
        if name.startswith(BY_NAME):
            try:
                baseline = await services.baselines.get(name.removeprefix(BY_NAME), identity)
            except ApiError as error:
                if error.status != 404:
                    raise
                found.append("none")
            else:
                found.append(baseline.config.job_id)
    return " ".join(found)


async def compared_jobs(
    request: ApiRequest, services: Services, query: PageQuery, base: str, others: Sequence[str]
) -> ComparedJobs:
    """Read the jobs. Raises :class:`ApiError` if there is no baseline; other jobs that do not exist have the reason."""
    jobs = [await job_of(services, request.identity, base)]
    runs = [_run(0, base, jobs[0])]
    for reference in others:
        try:
            found = await job_of(services, request.identity, reference)
        except ApiError as error:
            if error.status not in (404, 409):
                raise
            runs.append(Run(letter=LETTERS[len(runs)], reference=reference, missing=error.message))
            continue
        runs.append(_run(len(runs), reference, found))
        jobs.append(found)
    views = await views_of(services, request.identity, [job for job, _ in jobs], wait=False)
    return ComparedJobs(runs=runs, jobs=jobs, views=views, question=compared_question(query))


def compared_question(query: PageQuery) -> Question:
    """What is compared. Raises :class:`ApiError`."""
    return question_of(query, margin=number_of(query, "margin", minimum=MIN_MARGIN, below=MAX_ABS_SCORE))


def _run(position: int, reference: str, found: NamedJob) -> Run:
    job, _ = found
    return Run(
        letter=LETTERS[position],
        reference=reference,
        job_id=job.id,
        name=job.request.name,
        model=job.model_name,
    )
