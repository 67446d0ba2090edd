"""Views of a lineage, a job with its reruns: the result that counts for each benchmark."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from msgspec import Struct

from evalhub_server.domain.record import BenchmarkRecord, JobRecord, PlannedBenchmark
from evalhub_server.models.common import State
from evalhub_server.models.job import BenchmarkRef


class Source(Struct, frozen=True):
    """The benchmark at ``index`` of a job, as the result that counts for one benchmark of a lineage."""

    job: JobRecord
    index: int

    @property
    def planned(self) -> PlannedBenchmark:
        return self.job.plan.benchmarks[self.index]

    @property
    def record(self) -> BenchmarkRecord:
        return self.job.benchmarks[self.index]

    @property
    def completed(self) -> bool:
        """Whether it has a result."""
        return self.record.state is State.COMPLETED and self.record.result is not None


LineageView = Mapping[str, Source]
"""The benchmarks of a lineage by name (:func:`benchmark_names`), in the order of the first job."""


def benchmark_names(benchmarks: Iterable[PlannedBenchmark | BenchmarkRef]) -> list[str]:
    """The name of each benchmark in comparisons: ``provider_id/id``, with ``#2``, ``#3``, … where a job repeats one."""
    names: list[str] = []
    counts: dict[str, int] = {}
    for benchmark in benchmarks:
        name = f"{benchmark.provider_id}/{benchmark.id}"
        counts[name] = counts.get(name, 0) + 1
        names.append(name if counts[name] == 1 else f"{name}#{counts[name]}")
    return names


def origins_of(job: JobRecord) -> tuple[int, ...]:
    """The index in the first job of the lineage for each benchmark of the job."""
    return job.definition.origins or tuple(range(len(job.plan.benchmarks)))


def view_of_job(job: JobRecord, lineage: Sequence[JobRecord]) -> LineageView:
    """The benchmarks of the job's lineage as the job shows them.

    What the job has completed counts. For the other benchmarks, it is the newest completed result of the lineage or,
    without one, what the newest job has. So a job whose failed benchmarks were repeated is complete, and a job that was
    repeated as a whole can be compared with its repetition.
    """
    return _view([job, *(each for each in lineage if each.id != job.id)], first=job)


def view_of_lineage(lineage: Sequence[JobRecord]) -> LineageView:
    """The benchmarks of a lineage, each with its newest completed result or, without one, what the newest job has."""
    return _view(lineage, first=None)


def is_complete(view: LineageView) -> bool:
    """Whether every benchmark has a result."""
    return bool(view) and all(source.completed for source in view.values())


def lineages_of(jobs: Iterable[JobRecord]) -> list[list[JobRecord]]:
    """Jobs grouped by lineage; the oldest job of each comes first."""
    groups: dict[str, list[JobRecord]] = {}
    for job in jobs:
        groups.setdefault(job.definition.lineage or job.id, []).append(job)
    return [sorted(each, key=_age) for each in groups.values()]


def _age(job: JobRecord) -> tuple[datetime, str]:
    return job.created_at, job.id


def _rank(source: Source, first: JobRecord | None) -> tuple[bool, bool, tuple[datetime, str]]:
    return source.completed, source.completed and source.job is first, _age(source.job)


def _view(jobs: Sequence[JobRecord], first: JobRecord | None) -> LineageView:
    found: dict[int, Source] = {}
    for job in jobs:
        for index, origin in enumerate(origins_of(job)):
            source = Source(job, index)
            current = found.get(origin)
            if current is None or _rank(source, first) > _rank(current, first):
                found[origin] = source
    ordered = [found[origin] for origin in sorted(found)]
    return dict(zip(benchmark_names(each.planned for each in ordered), ordered, strict=True))
