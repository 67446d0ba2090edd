"""Changes of a job: one benchmark replaced, and the benchmarks that differ between two records.

A job may have thousands of benchmarks, and most changes are about one. So a loop over all of them runs in C here, and its
result is shared by all listeners of a change.
"""

from __future__ import annotations

from functools import cached_property
from itertools import compress
from operator import is_not

from msgspec import Struct

from evalhub_server.domain.record import BenchmarkRecord, JobRecord, with_changes

BenchmarkPairs = tuple[tuple[BenchmarkRecord, BenchmarkRecord], ...]
"""Benchmarks before and after a change, in the order of their index."""


class JobChanged(Struct, kw_only=True, frozen=True, dict=True):
    """A committed change of a job. ``before`` is None for a new job, ``after`` is None for a deleted one."""

    before: JobRecord | None
    after: JobRecord | None

    @cached_property
    def benchmarks(self) -> BenchmarkPairs:
        """The benchmarks that the change replaced, before and after; none for a new or deleted job."""
        if self.before is None or self.after is None:
            return ()
        return changed_benchmarks(self.before, self.after)


def changed_benchmarks(before: JobRecord, after: JobRecord) -> BenchmarkPairs:
    """The benchmarks whose record was replaced: records share what did not change."""
    old, new = before.benchmarks, after.benchmarks
    if old is new:
        return ()
    return tuple(compress(zip(old, new, strict=False), map(is_not, old, new)))


def with_benchmark(job: JobRecord, benchmark: BenchmarkRecord) -> JobRecord:
    """Return the job with another record of one benchmark; nothing that is derived from it is updated."""
    benchmarks = list(job.benchmarks)
    benchmarks[benchmark.index] = benchmark
    return with_changes(job, benchmarks=tuple(benchmarks))
