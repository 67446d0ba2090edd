"""Estimates of time and tokens of benchmarks from past jobs: ``/api/v1/evaluations/estimates``."""

from __future__ import annotations

from collections.abc import Sequence

from litestar import Router, route
from litestar.di import NamedDependency

from evalhub_server.domain import problems
from evalhub_server.domain.estimates import Key, estimates
from evalhub_server.engine.identity import Identity
from evalhub_server.models.common import State
from evalhub_server.models.estimate import BenchmarkEstimate, Estimates
from evalhub_server.plugins.storage import JobQuery, Terms
from evalhub_server.web.openapi.errors import STORE_UNAVAILABLE, not_found
from evalhub_server.web.openapi.operation import Operation, Parameter, Success, names
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse, encode, json_response
from evalhub_server.web.services import Services

MAX_JOBS = 200
"""Past jobs that are considered: the newest ones."""
WITH_RESULTS = Terms(values=(State.COMPLETED.value, State.PARTIALLY_FAILED.value))

ESTIMATE = Operation(
    query=(
        Parameter(name="collection_id", description="A collection.", schema={"type": "string"}),
        Parameter(
            name="provider_id", description="A provider, instead of a collection.", schema={"type": "string"}
        ),
        Parameter(
            name="benchmark_id",
            description="Only this benchmark of the provider.",
            schema={"type": "string"},
        ),
    ),
    success=Success(
        description="The estimates.",
        type=Estimates,
        example=lambda: Estimates(
            benchmarks=(
                BenchmarkEstimate(
                    provider_id="quickstart",
                    benchmark_id="arithmetic",
                    runs=12,
                    duration_s=38.0,
                    token_runs=12,
                    tokens=5210,
                ),
            ),
            jobs=12,
            known=1,
            duration_s=38.0,
            known_tokens=1,
            tokens=5210,
        ),
    ),
    errors=(
        problems.query_parameter_mismatch(("collection_id", "provider_id")),
        problems.query_bad_parameter("colour", ("collection_id", "provider_id", "benchmark_id")),
        not_found("collection"),
        not_found("provider"),
        STORE_UNAVAILABLE,
    ),
)


@route("/", http_method=READ_METHODS, operation=ESTIMATE)
async def get_estimates(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """Get roughly how long benchmarks take and how many tokens they need.

    These are medians over the finished benchmarks of the newest 200 jobs of this server with them, whatever the model, for all
    benchmarks of a collection or of a provider. Without either there are none.
    """
    query = Query(request.scope)
    query.allow_only(names(ESTIMATE.query))
    collection_id, provider_id = query.text("collection_id"), query.text("provider_id")
    if collection_id and provider_id:
        raise problems.query_parameter_mismatch(("collection_id", "provider_id"))
    if collection_id:
        collection = await services.resources.get_collection(collection_id, request.identity)
        wanted = [(each.provider_id, each.id) for each in collection.config.benchmarks]
    elif provider_id:
        provider = await services.resources.get_provider(provider_id, request.identity)
        ids = (
            [query.text("benchmark_id")]
            if query.text("benchmark_id")
            else [b.id for b in provider.config.benchmarks]
        )
        wanted = [(provider_id, benchmark_id) for benchmark_id in ids]
    else:
        wanted = []
    return json_response(encode(await estimates_of(services, request.identity, wanted)))


async def estimates_of(services: Services, identity: Identity, benchmarks: Sequence[Key]) -> Estimates:
    """The estimates of benchmarks, from the newest jobs with results that have any of them."""
    if not benchmarks:
        return Estimates(benchmarks=(), jobs=0)
    labels = {
        "provider_id": Terms(values=tuple(dict.fromkeys(provider for provider, _ in benchmarks))),
        "benchmark_id": Terms(values=tuple(dict.fromkeys(benchmark for _, benchmark in benchmarks))),
    }
    page = await services.jobs.list(
        JobQuery(tenant=identity.scope, status=WITH_RESULTS, labels=labels, limit=MAX_JOBS)
    )
    return estimates(page.items, benchmarks)


estimate_router = Router("/api/v1/evaluations/estimates", route_handlers=[get_estimates])
