"""Latency of lists, filters, sorts and facets of jobs, with SQLite and growing numbers of jobs.

``python -m benchmarks.many_jobs [--jobs 10000,100000,1000000] [--folder DIR]`` fills a database for each number, which takes a few
minutes and about 3 GB for a million jobs, and prints the shortest of several times of each query in milliseconds, as a table.
No result comes from a cache.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import get_args

from msgspec.structs import replace

from benchmarks.copies import multiply
from evalhub_server.domain.record import BenchmarkRecord, JobPlan, JobRecord, PlannedBenchmark
from evalhub_server.models.common import State
from evalhub_server.models.job import CollectionRef, JobRequest, JobTest, Model
from evalhub_server.plugins import JobFacetName, JobQuery
from evalhub_server.testing.builders import a_job, any_of, none_of
from evalhub_storage_sqlite.storage import SqliteStorage

ROUNDS = 9
TEMPLATES = 1000
"""Jobs that are written by the storage; the others are copies of them with other ids and times."""
MAX_JOBS = 5_000
LISTS = {
    "newest": JobQuery(),
    "of a tenant": JobQuery(tenant="tenant-3"),
    "offset 5000": JobQuery(offset=5000),
    "state completed": JobQuery(status=any_of("completed")),
    "state failed": JobQuery(status=any_of("failed")),
    "states failed, running": JobQuery(status=any_of("failed", "running")),
    "not state completed": JobQuery(status=none_of("completed")),
    "model": JobQuery(labels={"model_name": any_of("model-7")}),
    "model and state": JobQuery(labels={"model_name": any_of("model-7")}, status=any_of("failed")),
    "benchmark": JobQuery(labels={"benchmark_id": any_of("bench-3")}),
    "collection": JobQuery(labels={"collection_id": any_of("collection-1")}),
    "tag": JobQuery(tags=any_of("tag-11")),
    "name prefix": JobQuery(name_prefix="nightly-99"),
    "by name": JobQuery(sort="name"),
    "by score": JobQuery(sort="score"),
    "by duration, up": JobQuery(sort="duration", descending=False),
}
FACETS: tuple[JobFacetName, ...] = get_args(JobFacetName)
COUNTS: tuple[tuple[str, Sequence[JobFacetName]], ...] = (
    *(
        (name, FACETS)
        for name in ("newest", "of a tenant", "state completed", "model", "states failed, running")
    ),
    *(("newest", [facet]) for facet in ("status", "model_name", "benchmark_id")),
)


def template(number: int) -> JobRecord:
    """A job with one of 100 models, 2 of 20 benchmarks, 10 collections, 50 tags, 20 tenants and 10 names per thousand."""
    state = State.FAILED if number % 20 == 0 else State.RUNNING if number % 100 == 1 else State.COMPLETED
    start = "2026-01-01T00:00:00Z"
    end = f"2026-01-01T00:{number % 60:02}:{number % 59:02}Z" if state.terminal else ""
    planned = tuple(
        PlannedBenchmark(id=f"bench-{(number + k) % 20}", provider_id=f"p-{k % 2}") for k in range(2)
    )
    return a_job(
        tenant=f"tenant-{number % 20}",
        owner=f"owner-{number % 200}",
        request=JobRequest(
            name=f"nightly-{number % 997}",
            tags=(f"tag-{number % 50}", "nightly"),
            model=Model(name=f"model-{number % 100}", url=f"http://model-{number % 100}.test/v1"),
            collection=CollectionRef(id=f"collection-{number % 10}"),
        ),
        plan=JobPlan(benchmarks=planned),
        benchmarks=tuple(
            BenchmarkRecord(index=index, state=state, started_at=start, completed_at=end)
            for index in range(2)
        ),
        state=state,
        test=JobTest(score=number % 101 / 100, threshold=0.5, passed=True)
        if state is State.COMPLETED
        else None,
    )


async def fill(path: Path, jobs: int) -> None:
    """Write ``jobs`` jobs: templates by the storage, then copies by SQL."""
    storage = SqliteStorage(path)
    await storage.open()
    await asyncio.gather(*(storage.add_job(template(number)) for number in range(min(jobs, TEMPLATES))))
    await storage.close()
    multiply(path, TEMPLATES, jobs)


async def measure(path: Path) -> dict[str, float]:
    """The shortest time of each query in milliseconds. Each round has another limit, so that no result is cached."""
    storage = SqliteStorage(path, cached_records=1)
    await storage.open()
    found: dict[str, float] = {}

    async def measured(name: str, call: Callable[[int], Awaitable[object]]) -> None:
        times: list[float] = []
        for number in range(ROUNDS):
            start = time.perf_counter()
            await call(number)
            times.append((time.perf_counter() - start) * 1000)
        found[name] = min(times)

    try:
        for name, query in LISTS.items():
            pages = [replace(query, limit=50 - number) for number in range(ROUNDS)]
            await measured(f"list: {name}", lambda number, pages=pages: storage.list_jobs(pages[number]))
        for name, facets in COUNTS:
            query = LISTS[name]
            await measured(
                f"{'all facets' if len(facets) > 1 else facets[0]}: {name}",
                lambda _, query=query, facets=facets: storage.count_jobs(query, facets, MAX_JOBS),
            )
    finally:
        await storage.close()
    return found


def main(numbers: Sequence[int], folder: Path) -> None:
    results: dict[int, dict[str, float]] = {}
    for number in numbers:
        path = folder / f"{number}.db"
        start = time.monotonic()
        asyncio.run(fill(path, number))
        size = path.stat().st_size / 2**20
        print(f"{number} jobs: {size:.0f} MiB, filled in {time.monotonic() - start:.0f} s", file=sys.stderr)
        results[number] = asyncio.run(measure(path))
        path.unlink()
    width = max(map(len, next(iter(results.values()))))
    print(f"{'ms':{width}}", *(f"{number:>10}" for number in results))
    for name in next(iter(results.values())):
        print(f"{name:{width}}", *(f"{result[name]:10.1f}" for result in results.values()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", default="10000,100000,1000000")
    parser.add_argument("--folder", type=Path)
    options = parser.parse_args()
    numbers = [int(number) for number in options.jobs.split(",")]
    if options.folder:
        main(numbers, options.folder)
    else:
        with tempfile.TemporaryDirectory(prefix="many-jobs-") as made:
            main(numbers, Path(made))
