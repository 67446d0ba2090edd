"""Reruns: selection and the new job."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from evalhub_server.domain.lineage import (
    in_lineage,
    lineage_id,
    lineage_members,
    origin,
    rerun_of,
    selected_indexes,
)
from evalhub_server.domain.record import BenchmarkRecord, JobPlan, JobRecord, ResultRecord, with_changes
from evalhub_server.errors import ApiError
from evalhub_server.models.common import State
from evalhub_server.models.job import CollectionRef
from evalhub_server.testing.builders import a_job

STATES = {"c": State.COMPLETED, "f": State.FAILED, "x": State.CANCELLED, "e": State.COMPLETED}


def with_results(job: JobRecord, outcomes: str, acc: float = 0.5) -> JobRecord:
    """The job, ended: ``c`` completed, ``e`` completed without metrics, ``f`` failed, ``x`` cancelled."""
    benchmarks = tuple(
        BenchmarkRecord(
            index=index,
            state=STATES[each],
            result=ResultRecord(metrics={"acc": acc} if each == "c" else {}) if each in "ce" else None,
        )
        for index, each in enumerate(outcomes)
    )
    return with_changes(job, benchmarks=benchmarks, state=State.PARTIALLY_FAILED)


def ended(outcomes: str, **fields: Any) -> JobRecord:
    return with_results(a_job(size=len(outcomes), **fields), outcomes)


def rerun(original: JobRecord, *indexes: int, after_s: float = 1) -> JobRecord:
    moment = original.created_at + timedelta(seconds=after_s)
    return rerun_of(original, indexes, f"{original.id}+", moment, owner="eve")


@pytest.mark.parametrize(
    ("only", "indexes"),
    [("failed", (1, 2)), ("missing", (1, 2, 3)), ("all", (0, 1, 2, 3)), ((3, 0, 3), (0, 3))],
)
def test_a_selection_is_of_states_or_indexes(only: Any, indexes: tuple[int, ...]):
    assert selected_indexes(ended("cfxe"), only) == indexes


@pytest.mark.parametrize(
    ("job", "only", "status", "reason"),
    [
        (ended("cc"), "failed", 409, "has nothing to repeat: no benchmark of it is failed"),
        (ended("cc"), "missing", 409, "has nothing to repeat: no benchmark of it is missing"),
        (a_job(size=1), "all", 409, "has not ended; wait for it or cancel it"),
        (ended("cc"), (0, 2), 400, "only[1] must be the index of a benchmark, from 0 to 1"),
        (ended("cc"), (-1,), 400, "only[0] must be the index of a benchmark, from 0 to 1"),
        (ended("cc"), (), 400, "only must not be an empty list"),
    ],
)
def test_a_selection_that_is_not_possible_is_refused(job: JobRecord, only: Any, status: int, reason: str):
    with pytest.raises(ApiError) as caught:
        selected_indexes(job, only)
    assert caught.value.status == status
    assert reason in caught.value.message


def test_a_rerun_repeats_the_plan_of_the_original():
    plan = ended("cf").plan
    runtimes: dict[str, Any] = {"provider-a": {"local": {"command": "x"}}, "other": {}}
    original = ended("cf", plan=JobPlan(benchmarks=plan.benchmarks, runtimes=runtimes, threshold=0.7))
    job = rerun(original, 1)
    assert job.plan.benchmarks == plan.benchmarks[1:]
    assert job.plan.runtimes == {"provider-a": runtimes["provider-a"]}
    assert job.plan.threshold == 0.7
    assert job.request.benchmarks == original.request.benchmarks[1:]
    assert (job.state, job.owner, job.tenant) == (State.PENDING, "eve", original.tenant)
    assert (job.definition.derived_from, job.definition.repeats) == (original.id, (1,))
    assert job.labels["lineage"] == job.labels["derived_from"] == (original.id,)
    assert [b.index for b in job.benchmarks] == [0]


def test_a_rerun_of_a_collection_keeps_the_collection():
    job = ended("cf")
    request = with_changes(
        job, request=type(job.request)(name="j", model=job.request.model, collection=CollectionRef(id="k"))
    )
    assert rerun(request, 1).labels["collection_id"] == ("k",)


def test_benchmarks_are_followed_through_the_chain_to_the_first_job():
    first = ended("cfff")
    second = with_results(rerun(first, 1, 2, 3), "fcf")
    third = rerun(second, 0, 2)
    assert (third.definition.repeats, third.definition.origins) == ((0, 2), (1, 3))
    assert [origin(third, index) for index in (0, 1)] == [1, 3]
    assert lineage_id(third) == lineage_id(second) == lineage_id(first) == first.id
    assert in_lineage(third)
    assert not in_lineage(first)
    assert in_lineage(with_changes(first, repeated=True))
    assert [(m.id, m.derived_from, m.repeats) for m in lineage_members([first, second, third])] == [
        (first.id, "", ()),
        (second.id, first.id, (1, 2, 3)),
        (third.id, second.id, (0, 2)),
    ]
