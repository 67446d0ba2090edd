"""The pages of a benchmark, a provider and a collection of the catalogue: ``/ui/catalog/benchmark`` and its neighbours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec
from litestar import route
from litestar.di import NamedDependency
from msgspec import Struct

from evalhub_server.domain import problems
from evalhub_server.domain.catalogue import Offer, OfferedBenchmark
from evalhub_server.domain.planning import DEFAULT_THRESHOLD, listed_benchmark, planned_benchmark
from evalhub_server.domain.record import PlannedBenchmark
from evalhub_server.domain.redaction import redacted
from evalhub_server.domain.requirements import requirement_texts
from evalhub_server.domain.resource import CollectionRecord
from evalhub_server.domain.resource_view import collection_resource, provider_resource
from evalhub_server.engine.resource_store import benchmarks_of
from evalhub_server.errors import ApiError
from evalhub_server.models.common import Json
from evalhub_server.models.estimate import BenchmarkEstimate, Estimates
from evalhub_server.models.job import BenchmarkRef
from evalhub_server.models.provider import ProviderBenchmark, Runnable
from evalhub_server.models.trend import TrendPoint, Trends
from evalhub_server.plugins.storage import JobQuery, Terms
from evalhub_server.viewer.catalogue_page import (
    NEEDS,
    SECTION,
    CataloguePaths,
    CatalogueState,
    collections_of,
    offers_of,
)
from evalhub_server.viewer.page import Page, Table, page_response
from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.web.estimates import estimates_of
from evalhub_server.web.paths import url_prefix
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.services import Services
from evalhub_server.web.trends import trends_of

RECENT_JOBS = 50
"""Newest jobs of a benchmark from which the last scores of models are taken."""


class LastScore(Struct, kw_only=True, frozen=True):
    """The newest result of a model in a benchmark."""

    model: str
    metric: str
    lower_is_better: bool
    point: TrendPoint

    @property
    def created_at(self) -> datetime:
        return self.point.created_at


@route("/catalog/benchmark", http_method=READ_METHODS, include_in_schema=False)
async def benchmark_page(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """A benchmark of a provider: what it measures and needs, its last scores, and the collections that have it."""
    query = PageQuery(request, ("provider", "id"))
    provider_id, benchmark_id = _required(query, "provider"), _required(query, "id")
    state = CatalogueState(request, query, services)
    if (known := await state.known_response()) is not None:
        return known
    provider = await services.resources.get_provider(provider_id, request.identity)
    benchmark = listed_benchmark(provider.config, benchmark_id)
    if benchmark is None:
        raise problems.not_found("benchmark", benchmark_id)
    labels = {"provider_id": Terms(values=(provider_id,)), "benchmark_id": Terms(values=(benchmark_id,))}
    jobs = JobQuery(tenant=request.identity.scope, limit=RECENT_JOBS, labels=labels)
    trends, _ = await trends_of(services, jobs, sample_intervals=True)
    collections = [
        each
        for each in await collections_of(services, request.identity)
        if any((m.provider_id, m.id) == (provider_id, benchmark_id) for m in each.config.benchmarks)
    ]
    offer = Offer(provider=provider, runnable=services.resources.runnable(provider))
    scores = last_scores(trends)
    past = await estimates_of(services, request.identity, [(provider_id, benchmark_id)])
    planned = planned_benchmark(BenchmarkRef(id=benchmark_id, provider_id=provider_id), provider.config)
    twin, alias = benchmark.generating_twin or "", benchmark.alias_of or ""
    values = {
        **_common(request),
        "item": OfferedBenchmark(offer=offer, benchmark=benchmark),
        "planned": planned,
        "parameters": redacted(planned.parameters),
        "properties": _properties(benchmark),
        "clauses": list(requirement_texts(benchmark.requires or ())),
        "twin": twin if listed_benchmark(provider.config, twin) else "",
        "alias": alias if listed_benchmark(provider.config, alias) else "",
        "scores": scores,
        "estimate": past.benchmarks[0],
        "jobs": trends.total_count,
        "collections": collections,
    }
    page = Page(
        name="catalogue_benchmark",
        title=benchmark.name or benchmark.id,
        section=SECTION,
        values=values,
        data={
            "provider_id": provider_id,
            "runnable": offer.runnable,
            "benchmark": benchmark,
            "collections": [each.id for each in collections],
            "estimate": past.benchmarks[0],
            "series": trends.series,
        },
        table=Table(
            columns=("model", "metric", "score", "low", "high", "threshold", "job", "created_at"),
            rows=[
                (
                    each.model, each.metric, each.point.value, each.point.low, each.point.high, each.point.threshold,
                    each.point.job_id, each.point.created_at.isoformat(),
                )
                for each in scores
            ],
        ),
    )  # fmt: skip
    return await page_response(request, query, page, state)


@route("/catalog/provider", http_method=READ_METHODS, include_in_schema=False)
async def provider_page(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """A provider: what it is, whether it runs here and how runtimes start it."""
    query = PageQuery(request, ("id",))
    provider_id = _required(query, "id")
    state = CatalogueState(request, query, services)
    if (known := await state.known_response()) is not None:
        return known
    provider = await services.resources.get_provider(provider_id, request.identity)
    offer = Offer(provider=provider, runnable=services.resources.runnable(provider))
    page = Page(
        name="catalogue_provider",
        title=offer.title,
        section=SECTION,
        values={**_common(request), "offer": offer, "config": provider.config},
        data=provider_resource(provider, offer.runnable),
        table=Table(
            columns=("id", "name", "category"),
            rows=[(each.id, each.name, each.category) for each in provider.config.benchmarks],
        ),
    )
    return await page_response(request, query, page, state)


class Member(Struct, kw_only=True, frozen=True):
    """A benchmark of a collection; ``planned`` is how a job runs it, None if no provider offers it."""

    ref: BenchmarkRef
    planned: PlannedBenchmark | None
    runnable: Runnable | None
    estimate: BenchmarkEstimate

    @property
    def weight(self) -> float:
        return self.planned.weight if self.planned else self.ref.weight or 1.0

    @property
    def parameters(self) -> Json:
        """The parameters that a job uses, without secrets."""
        return redacted((self.planned or self.ref).parameters)


@route("/catalog/collection", http_method=READ_METHODS, include_in_schema=False)
async def collection_page(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """A collection: its benchmarks with weights and thresholds, and what its overall score is."""
    query = PageQuery(request, ("id",))
    collection_id = _required(query, "id")
    state = CatalogueState(request, query, services)
    if (known := await state.known_response()) is not None:
        return known
    collection = await services.resources.get_collection(collection_id, request.identity)
    offers = {each.provider.id: each for each in await offers_of(services, request.identity)}
    keys = [(each.provider_id, each.id) for each in collection.config.benchmarks]
    past = await estimates_of(services, request.identity, keys)
    members = members_of(collection, offers, past)
    criteria = collection.config.pass_criteria
    threshold = criteria.threshold if criteria else None
    scored = [each.planned for each in members if each.planned and each.planned.primary_score]
    visible = benchmarks_of([each.provider for each in offers.values()])
    page = Page(
        name="catalogue_collection",
        title=collection.config.name or collection.id,
        section=SECTION,
        values={
            **_common(request),
            "collection": collection,
            "config": collection.config,
            "members": members,
            "past": past,
            "weights": sum(each.weight for each in members),
            "threshold": DEFAULT_THRESHOLD if threshold is None else threshold,
            "default_threshold": threshold is None,
            "lower": any(each.primary_score and each.primary_score.lower_is_better for each in scored),
            "unscored": len(members) - len(scored),
        },
        data={**msgspec.to_builtins(collection_resource(collection, visible)), "estimates": past},
        table=Table(
            columns=(
                *("provider_id", "id", "weight", "metric", "lower_is_better", "threshold", "runnable"),
                *("runs", "duration_s", "tokens"),
            ),
            rows=[_member_row(each) for each in members],
        ),
    )
    return await page_response(request, query, page, state)


CATALOGUE_ITEMS = (benchmark_page, provider_page, collection_page)


def last_scores(trends: Trends) -> list[LastScore]:
    """The newest result of each model, newest first."""
    found = [
        LastScore(
            model=each.model_name,
            metric=each.metric,
            lower_is_better=each.lower_is_better,
            point=each.points[-1],
        )
        for each in trends.series
    ]
    return sorted(found, key=lambda each: each.created_at, reverse=True)


def members_of(collection: CollectionRecord, offers: Mapping[str, Offer], past: Estimates) -> list[Member]:
    """The benchmarks of a collection as a job without overrides runs them."""
    found: list[Member] = []
    for ref, estimate in zip(collection.config.benchmarks, past.benchmarks, strict=True):
        offer = offers.get(ref.provider_id)
        planned = None
        if offer is not None:
            try:
                planned = planned_benchmark(ref, offer.provider.config)
            except ApiError:  # its provider no longer offers it
                planned = None
        runnable = offer.runnable if offer else None
        found.append(Member(ref=ref, planned=planned, runnable=runnable, estimate=estimate))
    return found


def _member_row(member: Member) -> Sequence[object]:
    score = member.planned.primary_score if member.planned else None
    return (
        member.ref.provider_id, member.ref.id, member.weight, score.metric if score else "",
        score.lower_is_better if score else None, member.planned.threshold if member.planned else None,
        member.runnable.local if member.runnable else None, member.estimate.runs, member.estimate.duration_s,
        member.estimate.tokens,
    )  # fmt: skip


def _common(request: ApiRequest) -> dict[str, Any]:
    return {"paths": CataloguePaths(url_prefix(request.scope)), "needs_words": NEEDS}


def _properties(benchmark: ProviderBenchmark) -> list[tuple[str, str, bool]]:
    """Name, range and direction of each metric that the benchmark declares."""
    score = benchmark.primary_score or None
    known = {each.metric: each for each in benchmark.metric_properties or ()}
    names = [*([score.metric] if score else []), *(benchmark.metrics or ()), *known]
    found: list[tuple[str, str, bool]] = []
    for name in dict.fromkeys(names):
        declared = known.get(name)
        limits = declared.range if declared else None
        lower = bool(declared and declared.lower_is_better)
        if score and score.metric == name:
            lower = score.lower_is_better
        found.append((name, f"{limits[0]:g} to {limits[1]:g}" if limits else "", lower))
    return found


def _required(query: PageQuery, name: str) -> str:
    value = query.text(name)
    if not value:
        raise problems.query_parameter_required(name)
    return value
