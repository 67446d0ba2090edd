"""The page of the catalogue: ``/ui/catalog``, lists of collections, providers and benchmarks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from litestar import route
from litestar.di import NamedDependency
from msgspec import Struct

from evalhub_server.domain import problems
from evalhub_server.domain.catalogue import (
    Entry,
    Found,
    Offer,
    OfferedBenchmark,
    benchmark_entries,
    collection_entries,
    provider_entries,
    search,
)
from evalhub_server.domain.resource import CollectionRecord, Kind, ProviderRecord
from evalhub_server.engine.identity import Identity
from evalhub_server.models.provider import REQUIREMENTS
from evalhub_server.plugins.storage import ResourceQuery, Terms
from evalhub_server.viewer.facet_menu import FacetLine, facet_line
from evalhub_server.viewer.page import Page, PageState, Table, page_response
from evalhub_server.viewer.page_query import PageQuery, with_query
from evalhub_server.web.paths import url_prefix
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import RawResponse
from evalhub_server.web.services import Services

T = TypeVar("T")

SECTION = "/ui/catalog"
KINDS = ("collections", "providers", "benchmarks")
FILTERS: Mapping[str, Sequence[str]] = {
    "collections": ("category", "tag"),
    "providers": ("tag",),
    "benchmarks": ("provider", "category", "requires", "tag"),
}
"""The filters of each kind that have facets. Providers and benchmarks also have ``runnable``."""
SORTS: Mapping[str, Sequence[str]] = {
    "collections": ("name", "benchmarks"),
    "providers": ("name", "benchmarks"),
    "benchmarks": ("id", "name", "samples"),
}
MAX_RESOURCES = 1000
"""Providers and collections that are searched: as many as one page of the API has."""

NEEDS = {
    "chat": "chat",
    "prompt_logprobs": "prompt log-probabilities",
    "sandbox": "sandbox",
    "judge": "judge",
    "embeddings": "embeddings",
    "gpu": "GPU",
    "data": "own data",
}
"""Words for the values of ``requires``."""


class CataloguePaths(Struct, frozen=True):
    """Addresses of the pages of the catalogue, and of the pages that a part of it leads to."""

    prefix: str

    def of(self, path: str, **values: str) -> str:
        return with_query(f"{self.prefix}{path}", {name: [value] for name, value in values.items() if value})

    def list(self, kind: str) -> str:
        return self.of(SECTION, kind=kind)

    def benchmark(self, provider_id: str, benchmark_id: str) -> str:
        return self.of(f"{SECTION}/benchmark", provider=provider_id, id=benchmark_id)

    def provider(self, provider_id: str) -> str:
        return self.of(f"{SECTION}/provider", id=provider_id)

    def collection(self, collection_id: str) -> str:
        return self.of(f"{SECTION}/collection", id=collection_id)

    def run(self, **values: str) -> str:
        return self.of("/ui/run", **values)

    def jobs(self, **values: str) -> str:
        return self.of("/ui/jobs", **values)


class CatalogueState(PageState):
    """The state of a page that shows providers and collections, beside jobs."""

    def __init__(self, request: ApiRequest, query: PageQuery, services: Services) -> None:
        resources = services.resources
        super().__init__(request, query, services, f"{resources.changes} {resources.readiness_state}")


@route("/catalog", http_method=READ_METHODS, include_in_schema=False)
async def catalogue_page(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """The collections, providers or benchmarks that the filters select."""
    kind = Query(request.scope).choice("kind", KINDS, KINDS[0])
    has_runnable = kind != "collections"
    query = PageQuery(
        request,
        ("kind", "q", *FILTERS[kind], *(["runnable"] if has_runnable else []), "sort", "size", "offset"),
    )
    sort = query.choice("sort", ("", *SORTS[kind], *(f"-{name}" for name in SORTS[kind])), "")
    offset, size = query.integer("offset", 0), query.size()
    filters = _filters(query, FILTERS[kind])
    if has_runnable and query.text("runnable"):
        wanted = query.boolean("runnable", default=True)
        filters["runnable"] = Terms(values=("yes" if wanted else "no",))
    state = CatalogueState(request, query, services)
    if (known := await state.known_response()) is not None:
        return known
    listed = _KINDS[kind]
    entries: list[Entry[Any]] = await listed.read(services, request.identity)
    for name in FILTERS[kind]:
        texts = tuple(query.texts(name))
        if len(texts) == 1 and any(texts[0] in entry.labels.get(name, ()) for entry in entries):
            filters[name] = Terms(values=texts)  # a value may contain the separators of a filter
    names = (*FILTERS[kind], *(["runnable"] if has_runnable else []))
    found = await asyncio.to_thread(search, entries, query.text("q"), filters, names)
    items = _sorted(found.items, listed.keys, sort)
    shown = items[offset : offset + size]
    values = {
        "kind": kind,
        "tabs": [(each, CataloguePaths(url_prefix(request.scope)).list(each)) for each in KINDS],
        "paths": CataloguePaths(url_prefix(request.scope)),
        "needs_words": NEEDS,
        "rows": shown,
        "total": len(items),
        "all": len(entries),
        **query.row_links(len(shown), len(items)),
        "facets": _facets(query, found),
        "filters": query.chips((*FILTERS[kind], "runnable", "q")),
        "sorts": query.sort_links(SORTS[kind]),
        "sort": sort,
    }
    page = Page(
        name=f"catalogue_{kind}",
        title=_title(query, kind),
        section=SECTION,
        values=values,
        data={"total_count": len(items), "items": [listed.data(item) for item in shown]},
        table=Table(columns=listed.columns, rows=[listed.row(item) for item in shown]),
    )
    return await page_response(request, query, page, state)


def _filters(query: PageQuery, names: Sequence[str]) -> dict[str, Terms]:
    """The filters by name. Raises :class:`ApiError` for a requirement that no benchmark can have."""
    filters = {name: terms for name in names if (terms := query.terms(name)) is not None}
    requires = filters.get("requires")
    if requires is not None and not {*requires.values} <= {*REQUIREMENTS}:
        raise problems.query_parameter_value_invalid("requires", "|".join(REQUIREMENTS))
    return filters


async def offers_of(services: Services, identity: Identity) -> list[Offer]:
    """The providers that the client can see, in the order of the catalogue."""
    page = await services.resources.list(
        ResourceQuery(kind=Kind.PROVIDER, tenant=identity.scope, limit=MAX_RESOURCES, sort="catalog")
    )
    return [
        Offer(provider=each, runnable=services.resources.runnable(each))
        for each in page.items
        if isinstance(each, ProviderRecord)
    ]


async def collections_of(services: Services, identity: Identity) -> list[CollectionRecord]:
    """The collections that the client can see, in the order of the catalogue."""
    page = await services.resources.list(
        ResourceQuery(kind=Kind.COLLECTION, tenant=identity.scope, limit=MAX_RESOURCES, sort="catalog")
    )
    return [each for each in page.items if isinstance(each, CollectionRecord)]


class _Listed(Struct, kw_only=True, frozen=True):
    """What the list of a kind consists of. Texts of ``keys`` are compared without regard to case."""

    read: Callable[[Services, Identity], Any]
    keys: Mapping[str, Callable[[Any], str | int]]
    columns: Sequence[str]
    row: Callable[[Any], Sequence[object]]
    data: Callable[[Any], object]


async def _benchmarks(services: Services, identity: Identity) -> list[Entry[OfferedBenchmark]]:
    return benchmark_entries(await offers_of(services, identity))


async def _providers(services: Services, identity: Identity) -> list[Entry[Offer]]:
    return provider_entries(await offers_of(services, identity))


async def _collections(services: Services, identity: Identity) -> list[Entry[CollectionRecord]]:
    return collection_entries(await collections_of(services, identity))


def _benchmark_row(item: OfferedBenchmark) -> Sequence[object]:
    each, runnable = item.benchmark, item.offer.runnable
    score = each.primary_score or None
    return (
        item.offer.provider.id, each.id, each.name, each.category, each.description or "", score.metric if score else "",
        score.lower_is_better if score else None, ", ".join(each.requires or ()), each.dataset_size or None,
        runnable.local if runnable else None, runnable.fix if runnable else "",
    )  # fmt: skip


def _provider_row(item: Offer) -> Sequence[object]:
    config, runnable = item.provider.config, item.runnable
    return (
        item.provider.id, item.title, config.description, len(config.benchmarks), ", ".join(config.tags),
        runnable.local if runnable else None, runnable.fix if runnable else "",
    )  # fmt: skip


def _collection_row(item: CollectionRecord) -> Sequence[object]:
    config = item.config
    threshold = config.pass_criteria.threshold if config.pass_criteria else None
    return (
        item.id, config.name, config.category, config.description, len(config.benchmarks), threshold, item.run_count,
        ", ".join(config.tags),
    )  # fmt: skip


_KINDS = {
    "benchmarks": _Listed(
        read=_benchmarks,
        keys={
            "id": lambda item: item.benchmark.id.casefold(),
            "name": lambda item: (item.benchmark.name or item.benchmark.id).casefold(),
            "samples": lambda item: item.benchmark.dataset_size,
        },
        columns=(
            *("provider_id", "id", "name", "category", "description", "metric", "lower_is_better"),
            *("requires", "samples", "runnable", "fix"),
        ),
        row=_benchmark_row,
        data=lambda item: {
            "provider_id": item.offer.provider.id,
            "runnable": item.offer.runnable,
            "benchmark": item.benchmark,
        },
    ),
    "providers": _Listed(
        read=_providers,
        keys={
            "name": lambda item: item.title.casefold(),
            "benchmarks": lambda item: len(item.provider.config.benchmarks),
        },
        columns=("id", "title", "description", "benchmarks", "tags", "runnable", "fix"),
        row=_provider_row,
        data=lambda item: {
            "id": item.provider.id,
            "title": item.title,
            "description": item.provider.config.description,
            "benchmarks": len(item.provider.config.benchmarks),
            "tags": item.provider.config.tags,
            "runnable": item.runnable,
        },
    ),
    "collections": _Listed(
        read=_collections,
        keys={
            "name": lambda item: item.config.name.casefold(),
            "benchmarks": lambda item: len(item.config.benchmarks),
        },
        columns=("id", "name", "category", "description", "benchmarks", "threshold", "runs", "tags"),
        row=_collection_row,
        data=lambda item: {"id": item.id, "runs": item.run_count, "collection": item.config},
    ),
}


def _sorted(items: Sequence[T], keys: Mapping[str, Callable[[T], Any]], sort: str) -> Sequence[T]:
    if not sort:
        return items
    return sorted(items, key=keys[sort.removeprefix("-")], reverse=sort.startswith("-"))


def _facets(query: PageQuery, found: Found[Any]) -> list[FacetLine]:
    lines: list[FacetLine] = []
    for facet in found.facets:
        line = facet_line(query, facet.name, facet)
        if facet.name == "runnable":
            values = [
                (f"{value}, on this computer", count, query.url(runnable=int(value == "yes"), offset=None))
                for value, count, _ in line.values
            ]
            line = FacetLine(name=line.name, distinct=line.distinct, values=values)
        lines.append(line)
    return lines


def _title(query: PageQuery, kind: str) -> str:
    words = [
        f"{name} = {' or '.join(query.text(name).split('|'))}" for name in FILTERS[kind] if query.text(name)
    ]
    if query.text("runnable"):
        words.append("runnable here" if query.boolean("runnable", default=True) else "not runnable here")
    words += [f"“{query.text('q')}”"] if query.text("q") else []
    return " · ".join((kind.capitalize(), *words))
