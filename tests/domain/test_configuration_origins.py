"""Effective configuration with the source of each value."""

from __future__ import annotations

from typing import Any

from evalhub_server.domain.configuration_origins import settings_of
from evalhub_server.domain.planning import effective_benchmarks, plan
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import CollectionRecord
from evalhub_server.models.common import HardwareConfig, PassCriteria, PrimaryScore
from evalhub_server.models.job import BenchmarkRef, CollectionRef, JobRequest, Model
from evalhub_server.models.provider import ProviderBenchmark, ProviderConfig
from evalhub_server.testing.builders import a_collection, a_job

PROVIDER = ProviderConfig(
    name="p",
    benchmarks=(
        ProviderBenchmark(id="b", default_parameters={"shots": 5, "limit": 10, "seed": 1}),
        ProviderBenchmark(id="c"),
    ),
)


def collection_of(*benchmarks: BenchmarkRef) -> CollectionRecord:
    return a_collection(config={"benchmarks": benchmarks})


def planned(request: JobRequest, collection: CollectionRecord | None = None) -> JobRecord:
    benchmarks = effective_benchmarks(request, collection)
    return a_job(request=request, plan=plan(request, collection, benchmarks, {"p": PROVIDER}))


def origins(job: JobRecord, index: int = 0, collection: CollectionRecord | None = None) -> dict[str, Any]:
    return {each.name: (each.value, each.origin) for each in settings_of(job, index, collection)}


def test_values_of_a_request_differ_from_the_defaults_of_its_provider() -> None:
    job = planned(
        JobRequest(
            name="j",
            model=Model(
                url="http://u:pw@m.test/v1", name="m", parameters={"temperature": 0.5, "api_key": "sk-1"}
            ),
            hardware_config=HardwareConfig(),
            benchmarks=(
                BenchmarkRef(
                    id="b",
                    provider_id="p",
                    parameters={"limit": 3},
                    weight=2.0,
                    primary_score=PrimaryScore(metric="acc"),
                    pass_criteria=PassCriteria(threshold=0.8),
                ),
            ),
        )
    )
    found = origins(job)
    assert found == {
        "model.name": ("m", "request"),
        "model.url": ("http://***@m.test/v1", "request"),
        "model.parameters.temperature": (0.5, "request"),
        "model.parameters.api_key": ("***", "request"),
        "primary metric": ("acc", "request"),
        "threshold": (0.8, "request"),
        "weight": (2.0, "request"),
        "hardware_config": ({}, "request"),
        "limit": (3, "request"),
        "shots": (5, "provider"),
        "seed": (1, "provider"),
    }
    assert [*found][-2:] == ["shots", "seed"]


def test_the_collection_takes_precedence_over_overrides_of_its_provider() -> None:
    collection = collection_of(
        BenchmarkRef(id="b", provider_id="p", parameters={"limit": 7}, weight=3.0),
        BenchmarkRef(id="c", provider_id="p"),
    )
    override = BenchmarkRef(id="c", provider_id="p", parameters={"limit": 2, "shots": 0}, weight=5.0)
    model = Model(url="http://m.test", name="m")
    request = JobRequest(
        name="j", model=model, collection=CollectionRef(id=collection.id, benchmarks=(override,))
    )
    job = planned(request, collection)
    first, second = (origins(job, index, collection) for index in (0, 1))
    assert first["limit"] == (7, "collection")
    assert first["weight"] == (3.0, "collection")
    assert first["shots"] == (0, "request")
    assert first["seed"] == (1, "provider")
    assert second["limit"] == (2, "request")
    assert second["weight"] == (5.0, "request")
    without = origins(job, 0, None)
    assert without["seed"] == (1, "collection or provider")
    assert origins(job, 1, collection_of(BenchmarkRef(id="c", provider_id="p")))["limit"] == (2, "request")


def test_a_job_without_model_and_settings_has_defaults() -> None:
    plain = a_job(
        request=JobRequest(name="j", benchmarks=(BenchmarkRef(id="bench-0", provider_id="provider-a"),))
    )
    assert origins(plain) == {"weight": (1.0, "default")}
