"""The filter of samples that the pages of samples share: a page of one sample walks through the samples of the list it came from."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain.lineage_view import Source
from evalhub_server.domain.sample_details import SampleDetails
from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.sample_query import Rows, SampleQuery
from evalhub_server.domain.sample_repeats import has_repeats, one_row_per_sample
from evalhub_server.engine.sample_store import benchmark_at
from evalhub_server.viewer.page_query import PageQuery, with_query
from evalhub_server.web.openapi.operation import names
from evalhub_server.web.paths import index_of, url_prefix
from evalhub_server.web.request import ApiRequest
from evalhub_server.web.sample_query import FILTERS, epoch_number, sample_query
from evalhub_server.web.services import Services

REPEATS = "repeats"
"""The parameter that shows each epoch of a sample as a row of its own (``each``)."""
LIST_FILTERS = (*names(FILTERS), REPEATS)
"""The parameters of a list of samples that select and order rows."""

EPOCHS = "epochs"
"""The name of the filter ``epoch`` on the page of one sample, whose own ``epoch`` it would hide."""
SAMPLE_FILTERS = tuple(EPOCHS if name == "epoch" else name for name in LIST_FILTERS)


class BenchmarkPages(Struct, frozen=True):
    """The addresses of the pages of one benchmark."""

    prefix: str
    job_id: str
    index: int

    @property
    def job(self) -> str:
        return f"{self.prefix}/ui/jobs/{self.job_id}"

    @property
    def benchmark(self) -> str:
        return f"{self.job}/b/{self.index}"

    @property
    def logs(self) -> str:
        return f"{self.benchmark}/logs"

    def samples(self, filters: Mapping[str, list[str]] | None = None) -> str:
        """The list of samples that ``filters`` select."""
        return with_query(f"{self.benchmark}/samples", dict(filters or {}))

    def sample(self, sample_id: str, epoch: int, filters: Mapping[str, list[str]]) -> str:
        """The page of a sample; ``filters`` are those of the list."""
        values = {EPOCHS if name == "epoch" else name: texts for name, texts in filters.items()}
        values |= {"id": [sample_id], "epoch": [str(epoch)] if epoch else []}
        return with_query(f"{self.benchmark}/sample", values)


async def source_of(
    request: ApiRequest, job_id: str, benchmark_index: str, services: Services
) -> tuple[Source, BenchmarkPages]:
    """The benchmark of a page. Raises :class:`ApiError` (404) if there is none."""
    index = index_of(benchmark_index)
    job = await services.jobs.get(job_id, request.identity)
    benchmark_at(job, index)
    return Source(job, index), BenchmarkPages(url_prefix(request.scope), job.id, index)


def list_filters(query: PageQuery) -> dict[str, list[str]]:
    """The filters in the query of a list or of one sample, under their names in lists."""
    given = {name: query.texts(name) for name in LIST_FILTERS if name != "epoch" or not query.given("id")}
    if query.given(EPOCHS):
        given["epoch"] = query.texts(EPOCHS)
    return {name: texts for name, texts in given.items() if texts}


def wanted_samples(query: PageQuery, index: SampleIndex, details: SampleDetails) -> SampleQuery:
    """The samples that a query selects. Raises :class:`ApiError`."""
    wanted = sample_query(query, index, details)
    if not query.given("id"):
        return wanted
    return replace(wanted, epochs=[epoch_number(text, EPOCHS) for text in query.texts(EPOCHS)])


def each_repeat(query: PageQuery) -> bool:
    """Whether each epoch is a row of its own. Raises :class:`ApiError`."""
    return query.choice(REPEATS, ("", "each"), "") == "each"


def shown_rows(query: PageQuery, index: SampleIndex, rows: Rows) -> Rows:
    """The rows of a list: those that were selected, or one for each sample with one of them. Raises :class:`ApiError`."""
    return rows if each_repeat(query) or not has_repeats(index) else one_row_per_sample(index, rows)
