"""Effective benchmarks, their snapshot, and defaults (rest-api §3.5-3.7, decisions 12-17)."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from evalhub_server.domain.planning import (
    effective_benchmarks,
    plan,
    with_effective_benchmarks,
    with_queue_kinds,
    with_trimmed_experiment,
)
from evalhub_server.domain.record import JobPlan, PlannedBenchmark
from evalhub_server.domain.resource import CollectionRecord
from evalhub_server.errors import ApiError
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.common import (
    GitRef,
    HardwareConfig,
    PassCriteria,
    PrimaryScore,
    Queue,
    ResourceAmount,
    TestDataRef,
)
from evalhub_server.models.job import BenchmarkRef, CollectionRef, Experiment, JobRequest, Model
from evalhub_server.models.provider import MetricProperties, ProviderBenchmark, ProviderConfig

ACC = PrimaryScore(metric="acc")
LOSS = PrimaryScore(metric="loss", lower_is_better=True)
BIG = HardwareConfig(cpu=ResourceAmount(request="8"))
SMALL = HardwareConfig(cpu=ResourceAmount(request="1"))
GIT = TestDataRef(git=GitRef(url="https://h.com/x", ref="main"))
OTHER_GIT = TestDataRef(git=GitRef(url="https://h.com/y", ref="main"))
RECORDED = TestDataRef(git=GitRef(url="https://h.com/x", ref="main"), type="pre_recorded_data")


def a_ref(name: str = "b1", provider: str = "p1", **fields: Any) -> BenchmarkRef:
    return BenchmarkRef(id=name, provider_id=provider, **fields)


def a_request(*benchmarks: BenchmarkRef, **fields: Any) -> JobRequest:
    return JobRequest(
        **({"name": "j", "model": Model(url="http://m", name="m"), "benchmarks": benchmarks} | fields)
    )


def over(*overrides: BenchmarkRef) -> JobRequest:
    return a_request(collection=CollectionRef(id="c", benchmarks=overrides))


def a_collection(*members: BenchmarkRef, **fields: Any) -> CollectionRecord:
    config = CollectionConfig(name="c", category="x", benchmarks=members, **fields)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    return CollectionRecord(id="c", created_at=now, updated_at=now, config=config)


def a_provider(*offered: ProviderBenchmark) -> dict[str, ProviderConfig]:
    benchmarks = offered or (ProviderBenchmark(id="b1"),)
    return {"p1": ProviderConfig(name="p1", benchmarks=benchmarks, runtime={"local": {"command": "x"}})}


def refusal_of(call: Any, *args: Any) -> ApiError:
    with pytest.raises(ApiError) as caught:
        call(*args)
    return caught.value


# --- effective benchmarks -------------------------------------------------------------------------------------


def test_without_a_collection_the_job_runs_its_own_list() -> None:
    request = a_request(a_ref(), a_ref(), a_ref("b2"))
    assert effective_benchmarks(request, None) is request.benchmarks


def test_a_collection_runs_its_members_in_their_order_with_duplicates() -> None:
    members = (a_ref("b2", weight=2.0), a_ref("b1", primary_score=ACC), a_ref("b2"))
    assert effective_benchmarks(over(), a_collection(*members)) == members


def test_overrides_neither_add_nor_remove_members() -> None:
    effective = effective_benchmarks(over(a_ref("b2")), a_collection(a_ref("b1"), a_ref("b2")))
    assert [b.id for b in effective] == ["b1", "b2"]


@pytest.mark.parametrize(
    ("collections_own", "overriding", "merged"),
    [
        ({}, {"x": 1}, {"x": 1}),
        ({"a": 1}, {}, {"a": 1}),
        ({"a": 1}, {"a": 99}, {"a": 1}),
        ({"a": 1}, {"a": 99, "z": 1}, {"a": 1, "z": 1}),
        ({"del": None}, {"del": "x"}, {}),
        ({"del": ""}, {"del": "x"}, {}),
        ({"del": None, "gone": ""}, {}, {}),
        (
            {"zero": 0, "no": False, "list": []},
            {"zero": 5, "no": 5, "list": 5},
            {"zero": 0, "no": False, "list": []},
        ),
        ({"deep": {"k": None}}, {"deep": {"k": 1, "l": 2}}, {"deep": {"k": None}}),
        ({}, {"null": None, "empty": ""}, {"null": None, "empty": ""}),
    ],
)
def test_the_collections_parameters_win_and_null_or_empty_takes_one_away(
    collections_own: dict[str, Any], overriding: dict[str, Any], merged: dict[str, Any]
) -> None:
    collection = a_collection(a_ref(parameters=collections_own))
    (effective,) = effective_benchmarks(over(a_ref(parameters=overriding)), collection)
    assert effective.parameters == merged


def test_parameters_of_all_overrides_of_a_provider_are_united_and_the_later_wins() -> None:
    overrides = (
        a_ref("b1", parameters={"x": 1, "y": 1}),
        a_ref("b2", parameters={"y": 2}),
        a_ref("b9", "p2", parameters={"x": 7}),
    )
    collection = a_collection(a_ref("b1"), a_ref("b2"), a_ref("b9", "p2"))
    effective = effective_benchmarks(over(*overrides), collection)
    assert [b.parameters for b in effective] == [{"x": 1, "y": 2}, {"x": 1, "y": 2}, {"x": 7}]


def test_merging_leaves_the_collection_and_the_request_as_they_are() -> None:
    collection = a_collection(a_ref(parameters={"a": 1, "del": None}))
    request = over(a_ref(parameters={"del": "x"}))
    effective_benchmarks(request, collection)
    assert collection == a_collection(a_ref(parameters={"a": 1, "del": None}))
    assert request == over(a_ref(parameters={"del": "x"}))


@pytest.mark.parametrize(
    ("field", "own", "overriding"),
    [
        ("weight", 2.0, 10.0),
        ("primary_score", ACC, LOSS),
        ("pass_criteria", PassCriteria(threshold=0.5), PassCriteria(threshold=0.0)),
        ("test_data_ref", GIT, OTHER_GIT),
        ("hardware_config", SMALL, BIG),
    ],
)
def test_an_override_sets_the_field_of_its_own_member_only(field: str, own: Any, overriding: Any) -> None:
    collection = a_collection(a_ref("b1", **{field: own}), a_ref("b2", **{field: own}))
    touched, untouched = effective_benchmarks(over(a_ref("b1", **{field: overriding})), collection)
    assert getattr(touched, field) == overriding
    assert getattr(untouched, field) == own
    kept, _ = effective_benchmarks(over(a_ref("b1")), collection)
    assert getattr(kept, field) == own


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (a_ref("b1", "p9"), "The provider with id 'p9' does not exist."),
        (a_ref("b9", "p1"), "The benchmark with id 'b9' does not exist."),
        (a_ref("b2", "p1"), "The benchmark with id 'b2' does not exist."),
    ],
)
def test_an_override_outside_the_collection_is_refused(override: BenchmarkRef, message: str) -> None:
    error = refusal_of(effective_benchmarks, over(override), a_collection(a_ref("b1"), a_ref("b2", "p2")))
    assert (error.status, error.code, error.message) == (400, "resource_does_not_exist", message)


def test_an_empty_collection_is_refused() -> None:
    error = refusal_of(effective_benchmarks, over(), a_collection())
    assert (error.status, error.code) == (400, "collection_empty")
    assert error.message == "The collection c does not have any benchmarks."


RESOLVED = TestDataRef(git=GitRef(url="https://h.com/x", ref="main"), resolved_sha="abcdef1")


@pytest.mark.parametrize(
    ("request_", "collection"),
    [
        (a_request(a_ref(test_data_ref=RESOLVED)), None),
        (over(a_ref(test_data_ref=RESOLVED)), a_collection(a_ref())),
    ],
)
def test_a_client_can_not_set_the_resolved_sha(
    request_: JobRequest, collection: CollectionRecord | None
) -> None:
    error = refusal_of(effective_benchmarks, request_, collection)
    assert (error.status, error.code) == (400, "resolved_sha_read_only")


def test_a_collection_may_come_with_a_resolved_sha() -> None:
    (effective,) = effective_benchmarks(over(), a_collection(a_ref(test_data_ref=RESOLVED)))
    assert effective.test_data_ref == RESOLVED


# --- the plan -------------------------------------------------------------------------------------------------


def planned(ref: BenchmarkRef, offered: ProviderBenchmark, **fields: Any) -> PlannedBenchmark:
    request = a_request(ref, **fields)
    return plan(request, None, request.benchmarks, a_provider(offered)).benchmarks[0]


OFFERED = ProviderBenchmark(id="b1", primary_score=ACC, pass_criteria=PassCriteria(threshold=0.3))


@pytest.mark.parametrize(
    ("ref", "offered", "score", "threshold"),
    [
        (a_ref(), OFFERED, ACC, 0.3),
        (a_ref(primary_score=ACC), OFFERED, ACC, 0.3),
        (a_ref(primary_score=LOSS), OFFERED, LOSS, None),
        (a_ref(pass_criteria=PassCriteria(threshold=0.8)), OFFERED, ACC, 0.8),
        (a_ref(pass_criteria=PassCriteria(threshold=0.0)), OFFERED, ACC, 0.0),
        (a_ref(primary_score=LOSS, pass_criteria=PassCriteria(threshold=0.8)), OFFERED, LOSS, 0.8),
        (a_ref(), ProviderBenchmark(id="b1"), None, None),
        (a_ref(), ProviderBenchmark(id="b1", primary_score=ACC), ACC, None),
        (a_ref(), ProviderBenchmark(id="b1", pass_criteria=PassCriteria(threshold=0.3)), None, None),
        (
            a_ref(primary_score=ACC),
            ProviderBenchmark(id="b1", pass_criteria=PassCriteria(threshold=0.3)),
            ACC,
            None,
        ),
    ],
)
def test_score_and_threshold_fall_back_to_the_providers(
    ref: BenchmarkRef, offered: ProviderBenchmark, score: PrimaryScore | None, threshold: float | None
) -> None:
    benchmark = planned(ref, offered)
    assert (benchmark.primary_score, benchmark.threshold) == (score, threshold)


def test_the_direction_of_a_score_is_the_one_that_was_chosen() -> None:
    lower = PrimaryScore(metric="acc", lower_is_better=True)
    assert planned(a_ref(primary_score=lower), OFFERED).primary_score == lower


@pytest.mark.parametrize(("weight", "effective"), [(0.0, 1.0), (1.0, 1.0), (2.5, 2.5), (1e-9, 1e-9)])
def test_no_weight_is_a_weight_of_one(weight: float, effective: float) -> None:
    assert planned(a_ref(weight=weight), OFFERED).weight == effective


def test_a_benchmark_with_hardware_of_its_own_ignores_the_jobs() -> None:
    assert planned(a_ref(hardware_config=SMALL), OFFERED, hardware_config=BIG).hardware_config == SMALL
    assert planned(a_ref(), OFFERED, hardware_config=BIG).hardware_config == BIG
    assert planned(a_ref(hardware_config=HardwareConfig()), OFFERED, hardware_config=BIG).hardware_config == (
        HardwareConfig()
    )


def test_parameters_and_test_data_are_taken_over() -> None:
    benchmark = planned(a_ref(parameters={"n": None}, test_data_ref=GIT), OFFERED)
    assert (benchmark.parameters, benchmark.test_data_ref) == ({"n": None}, GIT)


@pytest.mark.parametrize(
    ("jobs_own", "collections_own", "threshold"),
    [
        (None, None, 0.5),
        (PassCriteria(threshold=0.7), None, 0.7),
        (None, PassCriteria(threshold=0.6), 0.6),
        (PassCriteria(threshold=0.0), PassCriteria(threshold=0.6), 0.0),
        (PassCriteria(threshold=-1.0), None, -1.0),
    ],
)
def test_the_jobs_threshold_falls_back_to_the_collections_and_then_to_a_half(
    jobs_own: PassCriteria | None, collections_own: PassCriteria | None, threshold: float
) -> None:
    collection = a_collection(a_ref(), pass_criteria=collections_own)
    request = a_request(collection=CollectionRef(id="c"), pass_criteria=jobs_own)
    made = plan(request, collection, collection.config.benchmarks, a_provider())
    assert made.threshold == threshold


def test_the_runtimes_of_all_providers_are_snapshotted() -> None:
    request = a_request(a_ref())
    assert plan(request, None, request.benchmarks, a_provider()).runtimes == {
        "p1": {"local": {"command": "x"}}
    }


def test_the_properties_of_metrics_are_snapshotted() -> None:
    properties = (MetricProperties(metric="acc", range=(0, 1), sample_metric="correct"),)
    offered = ProviderBenchmark(id="b1", metric_properties=properties, groups="clusters")
    planned = plan(
        a_request(a_ref()),
        None,
        (a_ref(),),
        {"p1": ProviderConfig(benchmarks=(offered,))},
    )
    assert planned.benchmarks[0].metric_properties == properties
    assert planned.benchmarks[0].groups == "clusters"


def test_requirements_and_the_alias_are_snapshotted() -> None:
    offered = ProviderBenchmark(
        id="b1", alias_of="b2", requires=("prompt_logprobs", "data"), generating_twin="b3"
    )
    made = plan(a_request(a_ref()), None, (a_ref(),), a_provider(offered)).benchmarks[0]
    assert (made.id, made.alias_of, made.generating_twin) == ("b1", "b2", "b3")
    assert made.requires == ("prompt_logprobs", "data")


def test_parameters_of_the_job_take_precedence_over_the_default_ones() -> None:
    offered = ProviderBenchmark(id="b1", default_parameters={"profile": "constant", "rate": 1})
    ref = a_ref(parameters={"rate": 5, "max_seconds": 9})
    made = plan(a_request(ref), None, (ref,), a_provider(offered)).benchmarks[0]
    assert made.parameters == {"profile": "constant", "rate": 5, "max_seconds": 9}


@pytest.mark.parametrize(
    "name", ["mmlu_anatomy", "inspect_evals/gsm8k", "dan.DanInTheWild", "math:algebra", "flores_(en)-x", "_x"]
)
def test_a_provider_may_accept_benchmarks_that_it_does_not_list(name: str) -> None:
    provider = ProviderConfig(name="p1", benchmarks=(ProviderBenchmark(id="b1"),), any_benchmark=True)
    made = plan(a_request(a_ref(name)), None, (a_ref(name),), {"p1": provider}).benchmarks[0]
    assert (made.id, made.primary_score, made.parameters) == (name, None, {})


@pytest.mark.parametrize(
    "name", ["", " x", "a b", "../x", "a/../b", "a//b", "a/", "/a", "--x", "a\n", "é", "x" * 201]
)
def test_an_unlisted_benchmark_needs_a_plausible_name(name: str) -> None:
    provider = ProviderConfig(name="p1", any_benchmark=True)
    error = refusal_of(plan, a_request(a_ref(name)), None, (a_ref(name),), {"p1": provider})
    assert (error.status, error.code) == (400, "resource_does_not_exist")


def test_a_benchmark_that_its_provider_lacks_is_refused() -> None:
    request = a_request(a_ref("nope"))
    error = refusal_of(plan, request, None, request.benchmarks, a_provider())
    assert (error.status, error.code) == (400, "resource_does_not_exist")
    assert error.message == "The benchmark with id 'nope' does not exist."


@pytest.mark.parametrize(
    ("url", "refs", "refused"),
    [
        ("", (RECORDED,), False),
        ("", (RECORDED, RECORDED), False),
        ("", (RECORDED, GIT), True),
        ("", (GIT,), True),
        ("", (None,), True),
        ("http://m", (None, RECORDED), False),
    ],
)
def test_a_model_url_is_needed_unless_all_data_are_recorded(
    url: str, refs: tuple[TestDataRef | None, ...], refused: bool
) -> None:
    benchmarks = tuple(a_ref(test_data_ref=ref) for ref in refs)
    request = a_request(*benchmarks, model=Model(url=url, name="m"))
    if refused:
        assert refusal_of(plan, request, None, benchmarks, a_provider()).code == "model_url_required"
    else:
        assert plan(request, None, benchmarks, a_provider())


def test_an_unknown_benchmark_is_reported_before_the_missing_model_url() -> None:
    request = a_request(a_ref("nope"), model=Model(name="m"))
    assert refusal_of(plan, request, None, request.benchmarks, a_provider()).code == "resource_does_not_exist"


# --- queues and materialising ---------------------------------------------------------------------------------


def test_a_queue_without_a_kind_is_a_kueue_queue_wherever_it_stands() -> None:
    given, filled = Queue(name="q"), Queue(kind="kueue", name="q")
    hardware = HardwareConfig(queue=given)
    request = with_queue_kinds(
        a_request(
            a_ref(hardware_config=hardware),
            collection=CollectionRef(id="c", benchmarks=(a_ref(hardware_config=hardware),)),
            hardware_config=hardware,
            queue=given,
        )
    )
    assert request.queue == filled
    assert request.hardware_config == HardwareConfig(queue=filled)
    assert request.benchmarks[0].hardware_config == HardwareConfig(queue=filled)
    assert request.collection is not None
    assert request.collection.benchmarks[0].hardware_config == HardwareConfig(queue=filled)


def test_a_request_without_queues_stays_equal() -> None:
    request = a_request(a_ref(hardware_config=BIG), a_ref())
    assert with_queue_kinds(request) == request


def test_materialising_writes_the_whole_effective_list() -> None:
    made = JobPlan(
        benchmarks=(
            PlannedBenchmark(
                id="b1",
                provider_id="p1",
                weight=4.0,
                primary_score=ACC,
                threshold=0.0,
                parameters={"a": 1},
                test_data_ref=GIT,
                hardware_config=BIG,
            ),
            PlannedBenchmark(id="b2", provider_id="p1"),
        )
    )
    assert with_effective_benchmarks(CollectionRef(id="c", benchmarks=(a_ref(),)), made) == CollectionRef(
        id="c",
        benchmarks=(
            a_ref(
                "b1",
                weight=4.0,
                primary_score=ACC,
                pass_criteria=PassCriteria(threshold=0.0),
                parameters={"a": 1},
                test_data_ref=GIT,
                hardware_config=BIG,
            ),
            a_ref("b2"),
        ),
    )


@pytest.mark.parametrize(("metric", "threshold"), [("acc", 0.9), ("f1", None)])
def test_a_members_threshold_does_not_judge_another_metric_of_an_override(
    metric: str, threshold: float | None
) -> None:
    member = a_ref(primary_score=ACC, pass_criteria=PassCriteria(threshold=0.9))
    override = a_ref(primary_score=PrimaryScore(metric=metric))
    (effective,) = effective_benchmarks(over(override), a_collection(member))
    assert (effective.pass_criteria and effective.pass_criteria.threshold) == threshold


def test_the_name_of_an_experiment_is_trimmed() -> None:
    trimmed = with_trimmed_experiment(a_request(a_ref(), experiment=Experiment(name=" e x\t")))
    assert trimmed.experiment == Experiment(name="e x")
    assert with_trimmed_experiment(trimmed) is trimmed
    assert with_trimmed_experiment(a_request(a_ref())).experiment is None
