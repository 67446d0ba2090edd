"""The same sample in other jobs of its benchmark."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from evalhub_server.domain.lineage_view import Source, benchmark_names
from evalhub_server.domain.sample_index import SampleIndex
from evalhub_server.domain.sample_repeats import repeats_of
from evalhub_server.domain.samples import HASH_BYTES, current_set
from evalhub_server.engine.identity import Identity
from evalhub_server.errors import ApiError, SampleStoreUnavailable
from evalhub_server.models.common import State
from evalhub_server.plugins.storage import JobQuery, Terms
from evalhub_server.viewer.page_query import with_query
from evalhub_server.viewer.sample_filter import BenchmarkPages
from evalhub_server.web.services import Services

NEWEST_JOBS = 6
"""Jobs of the benchmark that are looked at."""


class OtherSample(Struct, kw_only=True, frozen=True):
    """A sample with the same id in another job. ``same_content``: its input and target are equal, too."""

    job_id: str
    job_name: str
    model: str
    outcome: str
    passed: int
    repeats: int
    same_content: bool
    url: str
    compare_url: str


class OtherJobs(Struct, kw_only=True, frozen=True):
    """The sample in other jobs, newest first. ``passed`` of ``compared`` jobs, this one included, passed a sample of equal content."""

    jobs: Sequence[OtherSample]
    passed: int
    compared: int


async def other_jobs(
    services: Services, identity: Identity, source: Source, index: SampleIndex, row: int, prefix: str
) -> OtherJobs:
    """Look for the sample in the newest jobs of the same benchmark: one query, and the indexes of their samples."""
    planned = source.planned
    newest = await services.jobs.list(
        JobQuery(
            tenant=identity.scope,
            limit=NEWEST_JOBS,
            status=Terms(values=(State.COMPLETED.value, State.PARTIALLY_FAILED.value)),
            labels={
                "benchmark_id": Terms(values=(planned.id,)),
                "provider_id": Terms(values=(planned.provider_id,)),
            },
        )
    )
    jobs: list[OtherSample] = []
    for job in newest.items:
        for number, other in enumerate(job.plan.benchmarks):
            if job.id != source.job.id and (other.provider_id, other.id) == (planned.provider_id, planned.id):
                there = Source(job, number)
                found = await _index_of(services, there)
                jobs += _sample_in(source, index, row, there, found, prefix) if found else []
    outcomes = [each.passed == each.repeats for each in jobs if each.same_content]
    own = repeats_of(index, {index.ids[row]})[index.ids[row]]
    outcomes.append(own.passed == own.count)
    return OtherJobs(jobs=jobs, passed=sum(outcomes), compared=len(outcomes))


async def _index_of(services: Services, other: Source) -> SampleIndex | None:
    """The index of the samples of a benchmark; None if there are none."""
    samples = current_set(other.record)
    if samples is None or not samples.readable:
        return None
    try:
        return (await services.files.open_samples(other.job, other.index)).index
    except (ApiError, SampleStoreUnavailable):
        return None  # removed meanwhile, or in a bucket that is unavailable: this sample is shown without it


def _sample_in(
    source: Source, index: SampleIndex, row: int, other: Source, there: SampleIndex, prefix: str
) -> list[OtherSample]:
    sample_id = index.ids[row]
    repeats = repeats_of(there, {sample_id})[sample_id]
    if not repeats.rows:
        return []
    first = repeats.rows[0]
    older, newer = sorted((source.job, other.job), key=lambda job: (job.created_at, job.id))
    name = benchmark_names(source.job.plan.benchmarks)[source.index]
    return [
        OtherSample(
            job_id=other.job.id,
            job_name=other.job.request.name,
            model=other.job.model_name,
            outcome=there.outcome(first),
            passed=repeats.passed,
            repeats=repeats.count,
            same_content=_key(there, first) == _key(index, row),
            url=BenchmarkPages(prefix, other.job.id, other.index).sample(sample_id, there.epochs[first], {}),
            compare_url=with_query(
                f"{prefix}/ui/compare", {"base": [older.id], "with": [newer.id], "benchmark": [name]}
            ),
        )
    ]


def _key(index: SampleIndex, row: int) -> bytes:
    return index.key_hashes[row * HASH_BYTES : (row + 1) * HASH_BYTES]
