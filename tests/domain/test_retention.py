"""Decisions of the retention policy: which jobs and files are deleted, and which never."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from evalhub_server.domain.record import JobRecord, OutboxEntry, with_changes
from evalhub_server.domain.retention import (
    JobFacts,
    RetentionPolicy,
    decide,
    facts_of,
    is_exempt,
    without_samples,
)
from evalhub_server.models.common import State
from evalhub_server.models.sample import Artifact, SampleSet
from evalhub_server.testing.builders import a_job

NOW = datetime(2026, 11, 30, tzinfo=UTC)
DAY_S = 86_400.0


def facts(name: str, age_days: float, model: str = "m", *, completed: bool = True, **fields: Any) -> JobFacts:
    time = NOW - timedelta(days=age_days)
    keys = frozenset({(model, "p", "b")})
    defaults: dict[str, Any] = {"exempt": False, "completed": keys if completed else frozenset()}
    return JobFacts(id=name, created_at=time, ended_at=time, keys=keys, **{**defaults, **fields})


def deleted(jobs: list[JobFacts], **policy: Any) -> list[tuple[str, str]]:
    return [(each.job_id, each.what) for each in decide(jobs, RetentionPolicy(**policy), NOW)]


def test_nothing_is_deleted_without_a_limit() -> None:
    assert deleted([facts("old", 10_000, samples_bytes=10**15)]) == []
    assert not RetentionPolicy().deletes


def test_jobs_are_deleted_by_age_and_number_unless_one_of_both_keeps_them() -> None:
    jobs = [facts("a", 1), facts("b", 5), facts("c", 9), facts("other", 9, "n")]
    assert {job for job, _ in deleted(jobs, keep_for_s=4 * DAY_S)} == {"b", "c", "other"}
    assert deleted(jobs, keep_last=2) == [("c", "job")]
    assert deleted(jobs, keep_last=1, keep_for_s=6 * DAY_S) == [("c", "job")]


def test_failures_do_not_displace_the_last_result() -> None:
    jobs = [facts(f"failed-{n}", n, completed=False) for n in range(1, 4)] + [
        facts("good", 5),
        facts("older", 6),
    ]
    assert {job for job, _ in deleted(jobs, keep_last=1)} == {"failed-2", "failed-3", "older"}


def test_exempt_jobs_are_kept_and_so_is_what_a_kept_rerun_repeats() -> None:
    jobs = [
        facts("first", 9),
        facts("second", 8, derived_from="first"),
        facts("third", 1, derived_from="second"),
        facts("pinned", 9, exempt=True, samples_bytes=5),
        facts("alone", 9),
    ]
    assert deleted(jobs, keep_for_s=2 * DAY_S, samples_for_s=DAY_S, max_bytes=1) == [("alone", "job")]


def test_files_are_deleted_by_age_and_then_by_size_the_oldest_first() -> None:
    jobs = [facts(name, age, samples_bytes=10, logs_bytes=1) for name, age in (("a", 9), ("b", 5), ("c", 1))]
    assert deleted(jobs, samples_for_s=4 * DAY_S) == [("a", "samples"), ("b", "samples")]
    assert deleted(jobs, logs_for_s=8 * DAY_S) == [("a", "logs")]
    assert deleted(jobs, max_bytes=22) == [("a", "samples"), ("a", "logs")]
    assert deleted(jobs, max_bytes=33) == []
    assert deleted(jobs, samples_for_s=8 * DAY_S, max_bytes=22) == [("a", "samples"), ("a", "logs")]


def test_unfinished_pinned_and_baseline_jobs_and_pending_exports_are_exempt() -> None:
    ended = _ended(a_job())
    pending = OutboxEntry(kind="exporter", name="oci", event="ended", since=NOW)
    assert not is_exempt(ended, ())
    assert is_exempt(a_job(), ())
    assert is_exempt(ended, {ended.id})
    assert is_exempt(with_changes(ended, pinned=True), ())
    assert is_exempt(with_changes(ended, outbox=(pending,)), ())
    assert not is_exempt(with_changes(ended, outbox=(replace(pending, state="failed"),)), ())


def _ended(job: JobRecord) -> JobRecord:
    benchmarks = tuple(replace(each, state=State.COMPLETED) for each in job.benchmarks)
    return with_changes(job, state=State.COMPLETED, benchmarks=benchmarks)


def test_the_record_of_deleted_samples_keeps_their_statistics() -> None:
    artifact = Artifact(name="a", bytes=3, digest="d")
    stored = SampleSet(state="stored", count=2, bytes=7, means={"acc": 0.5}, artifacts=(artifact,))
    job = _ended(a_job())
    job = with_changes(job, benchmarks=(replace(job.benchmarks[0], samples=stored), *job.benchmarks[1:]))
    assert facts_of(job, 5, ()).samples_bytes == 10
    after = without_samples(job, "deleted")
    assert after.benchmarks[0].samples == replace(
        stored, state="none", message="deleted", bytes=0, artifacts=()
    )
    assert facts_of(after, 5, ()).samples_bytes == 0


@given(
    st.lists(
        st.tuples(st.integers(0, 50), st.sampled_from("mn"), st.booleans(), st.booleans(), st.integers(0, 9)),
        max_size=20,
    ),
    st.integers(0, 30),
    st.integers(0, 3),
    st.integers(0, 60),
)
def test_no_policy_deletes_what_is_exempt_or_one_thing_twice(
    jobs: list[tuple[int, str, bool, bool, int]], keep_days: int, keep_last: int, max_bytes: int
) -> None:
    found = [
        facts(str(n), age, model, completed=completed, exempt=exempt, samples_bytes=size, logs_bytes=size)
        for n, (age, model, completed, exempt, size) in enumerate(jobs)
    ]
    policy = {"keep_for_s": keep_days * DAY_S, "keep_last": keep_last, "max_bytes": max_bytes}
    result = deleted(found, **policy)
    assert len(result) == len(set(result))
    by_id = {job.id: job for job in found}
    assert not any(by_id[job_id].exempt for job_id, _ in result)
    whole = {job_id for job_id, what in result if what == "job"}
    assert not any(job_id in whole for job_id, what in result if what != "job")


@pytest.mark.parametrize("field", ["keep_for_s", "keep_last", "samples_for_s", "logs_for_s", "max_bytes"])
def test_every_limit_makes_a_policy_delete(field: str) -> None:
    assert RetentionPolicy(**{field: 1}).deletes
