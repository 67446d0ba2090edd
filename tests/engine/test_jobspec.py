"""``job.json``: the specification passed to adapters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from evalhub_server.domain.record import JobPlan, PlannedBenchmark
from evalhub_server.engine.run_builder import job_spec
from evalhub_server.models.common import PrimaryScore
from evalhub_server.models.job import (
    Experiment,
    ExperimentTag,
    Exports,
    JobRequest,
    Model,
    ModelAuth,
    OciConnection,
    OciCoordinates,
    OciExport,
)
from evalhub_server.models.provider import MetricProperties
from evalhub_server.testing.builders import a_job

RECORDED = Path(__file__).parent.parent / "fixtures" / "rest" / "local-job-spec.json"
URL = "http://127.0.0.1:9114"


def spec(
    request: JobRequest, *planned: PlannedBenchmark, index: int = 0, job_id: str = "j"
) -> dict[str, Any]:
    job = a_job(id=job_id, request=request, plan=JobPlan(benchmarks=planned))
    return json.loads(msgspec.json.encode(job_spec(job, index, URL)))


def a_request(**fields: Any) -> JobRequest:
    return JobRequest(**({"name": "j", "model": Model(url="http://m", name="m")} | fields))


def a_benchmark(**fields: Any) -> PlannedBenchmark:
    return PlannedBenchmark(**({"id": "b", "provider_id": "p"} | fields))


def test_a_full_specification_is_the_recorded_one_key_by_key() -> None:
    recorded = json.loads(RECORDED.read_text())
    request = a_request(
        model=Model(url="http://m", name="m", parameters={"t": 1}),
        experiment=Experiment(name="e", tags=(ExperimentTag(key="k", value="v"),)),
        exports=Exports(
            oci=OciExport(
                coordinates=OciCoordinates(oci_host="h", oci_repository="r"),
                k8s=OciConnection(connection="c"),
            )
        ),
    )
    planned = PlannedBenchmark(
        id="pb1",
        provider_id=recorded["provider_id"],
        parameters={"num_examples": 3, "x": 1},
        primary_score=PrimaryScore(metric="acc"),
    )
    made = spec(request, planned, job_id=recorded["id"])
    assert made == recorded
    assert list(made) == list(recorded)


def test_a_minimal_specification_has_only_what_is_always_there() -> None:
    assert spec(a_request(), a_benchmark()) == {
        "id": "j",
        "provider_id": "p",
        "benchmark_id": "b",
        "benchmark_index": 0,
        "model": {"url": "http://m", "name": "m"},
        "parameters": {},
        "callback_url": URL,
    }


def test_the_index_selects_the_benchmark() -> None:
    made = spec(a_request(), a_benchmark(id="b0"), a_benchmark(id="b1", provider_id="q"), index=1)
    assert (made["benchmark_id"], made["provider_id"], made["benchmark_index"]) == ("b1", "q", 1)


@pytest.mark.parametrize(
    ("given", "number"),
    [(3, 3), (0, 0), (2.9, 2), (1e3, 1000), ("12", 12), (" 12 ", 12), ("0", 0)],
)
def test_the_number_of_examples_is_lifted_out_of_the_parameters(given: Any, number: int) -> None:
    made = spec(a_request(), a_benchmark(parameters={"num_examples": given, "x": None}))
    assert made["num_examples"] == number
    assert made["parameters"] == {"x": None}


@pytest.mark.parametrize("given", ["", "many", "1.5", "-1", True, None, [3], {}])
def test_what_is_no_number_of_examples_is_taken_away(given: Any) -> None:
    made = spec(a_request(), a_benchmark(parameters={"num_examples": given}))
    assert "num_examples" not in made
    assert made["parameters"] == {}


def test_the_record_keeps_its_parameters() -> None:
    benchmark = a_benchmark(parameters={"num_examples": 3})
    spec(a_request(), benchmark)
    assert benchmark.parameters == {"num_examples": 3}


def test_an_experiment_without_tags_has_a_name_only() -> None:
    made = spec(a_request(experiment=Experiment(name="e")), a_benchmark())
    assert made["experiment_name"] == "e"
    assert "tags" not in made


def test_the_tags_are_the_experiments_and_not_the_jobs() -> None:
    assert "tags" not in spec(a_request(tags=("t",)), a_benchmark())


def test_a_model_without_a_url_still_has_the_key() -> None:
    model = Model(name="m", auth=ModelAuth(secret_ref="file:///s"), card_url="c")
    assert spec(a_request(model=model), a_benchmark())["model"] == {
        "url": "",
        "name": "m",
        "auth": {"secret_ref": "file:///s"},
        "card_url": "c",
    }


def test_the_specification_has_the_direction_when_lower_is_better() -> None:
    score = PrimaryScore(metric="loss", lower_is_better=True)
    made = spec(a_request(), a_benchmark(primary_score=score))
    assert made["primary_score"] == {"metric": "loss", "lower_is_better": True}


def test_exports_without_a_registry_are_left_out() -> None:
    assert "exports" not in spec(a_request(exports=Exports()), a_benchmark())


def test_what_the_provider_declares_is_part_of_the_specification() -> None:
    planned = a_benchmark(
        id="inspect/gsm8k",
        alias_of="inspect_evals/gsm8k",
        requires=("chat",),
        generating_twin="t",
        metric_properties=(MetricProperties(metric="acc", range=(0, 1), alias_of="exact_match", filter="f"),),
    )
    made = spec(a_request(), planned)
    assert made["benchmark_id"] == "inspect/gsm8k"
    assert (made["alias_of"], made["requires"], made["generating_twin"]) == (
        "inspect_evals/gsm8k",
        ["chat"],
        "t",
    )
    assert made["metric_properties"] == [
        {"metric": "acc", "range": [0, 1], "alias_of": "exact_match", "filter": "f"}
    ]
    assert (
        not {"alias_of", "requires", "generating_twin", "metric_properties"}
        & spec(a_request(), a_benchmark()).keys()
    )
