"""The benchmarks that differ between two records of a job."""

from __future__ import annotations

import pytest

from evalhub_server.domain.job_changes import changed_benchmarks, replaced_indices, with_benchmark
from evalhub_server.domain.record import BenchmarkRecord, with_changes
from evalhub_server.models.common import State
from evalhub_server.testing.builders import a_job

SIZES = (1, 2, 63, 64, 65, 200)


def benchmarks(size: int) -> tuple[BenchmarkRecord, ...]:
    return tuple(BenchmarkRecord(index=index) for index in range(size))


@pytest.mark.parametrize("size", SIZES)
def test_the_indices_are_those_of_replaced_records(size: int):
    old = benchmarks(size)
    for replaced in ({0}, {size - 1}, {0, size - 1}, set(range(size)), set[int]()):
        new = tuple(
            BenchmarkRecord(index=each.index, state=State.RUNNING) if each.index in replaced else each
            for each in old
        )
        assert list(replaced_indices(old, new)) == sorted(replaced)


@pytest.mark.parametrize("size", SIZES)
def test_records_that_were_added_count_as_replaced(size: int):
    new = benchmarks(size)
    for known in {0, 1, size // 2, size}:
        assert list(replaced_indices(new[:known], new)) == list(range(known, size))


@pytest.mark.parametrize("size", SIZES)
def test_records_that_were_removed_are_not_listed(size: int):
    old = benchmarks(size)
    assert replaced_indices(old, old[: size // 2]) == []


def test_changed_benchmarks_are_pairs_of_both_records():
    before = a_job(size=100)
    new = BenchmarkRecord(index=70, state=State.RUNNING)
    after = with_benchmark(before, new)
    assert changed_benchmarks(before, after) == ((before.benchmarks[70], new),)
    assert changed_benchmarks(before, with_changes(before, pinned=True)) == ()
    assert changed_benchmarks(with_changes(before, benchmarks=before.benchmarks[:50]), after) == ()
