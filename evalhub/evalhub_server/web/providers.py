"""``/api/v1/evaluations/providers``: what comes from the provider files."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, get
from litestar.response.base import ASGIResponse
from litestar.types import ControllerRouterHandler

from evalhub_server.domain import problems
from evalhub_server.engine.catalog import Catalog
from evalhub_server.models.common import Page
from evalhub_server.models.provider import Provider
from evalhub_server.plugins.storage import Terms
from evalhub_server.web.query import Query
from evalhub_server.web.responses import encode, json_response

AnyRequest = Request[Any, Any, Any]
FILTERS = ("limit", "offset", "benchmarks", "name", "tags", "owner", "scope")
SCOPES = ("system", "tenant")


def provider_routes(catalog: Catalog) -> list[ControllerRouterHandler]:
    """The handlers, bound to the catalog, whose providers never change: each is encoded once."""
    encoded = {key: msgspec.Raw(msgspec.json.encode(provider)) for key, provider in catalog.providers.items()}
    bare = {
        key: msgspec.Raw(msgspec.json.encode(msgspec.structs.replace(provider, benchmarks=())))
        for key, provider in catalog.providers.items()
    }

    @get("/api/v1/evaluations/providers")
    async def list_providers(request: AnyRequest) -> ASGIResponse:
        query = Query(request.scope)
        limit, offset = query.page()
        scope = _scope(query)
        query.allow_only(FILTERS)
        with_benchmarks = query.boolean("benchmarks", default=True)
        matching = [p for p in catalog.providers.values() if _matches(p, query) and scope != "tenant"]
        bodies = encoded if with_benchmarks else bare
        items = [bodies[provider.resource.id] for provider in matching[offset : offset + limit]]
        first, following = query.links(limit, offset, len(matching))
        page = Page[msgspec.Raw](
            first=first, next=following, limit=limit, total_count=len(matching), items=items
        )
        return json_response(encode(page))

    @get("/api/v1/evaluations/providers/{provider_id:str}")
    async def get_provider(provider_id: str) -> ASGIResponse:
        if provider_id not in encoded:
            raise problems.not_found("provider", provider_id)
        return json_response(bytes(encoded[provider_id]) + b"\n")

    return [list_providers, get_provider]


def _scope(query: Query) -> str:
    scope = query.text("scope")
    if scope and scope not in SCOPES:
        raise problems.query_parameter_value_invalid("scope", "|".join(SCOPES))
    if scope and query.text("owner"):
        raise problems.query_parameter_mismatch(("owner", "scope"))
    return scope


def _matches(provider: Provider, query: Query) -> bool:
    tags = () if provider.tags is msgspec.UNSET else provider.tags
    return (
        _fits(query.terms("name"), (provider.name,))
        and _fits(query.terms("tags"), tags)
        and _fits(query.terms("owner", negatable=True), (provider.resource.owner,))
    )


def _fits(terms: Terms | None, have: tuple[str, ...]) -> bool:
    if terms is None:
        return True
    found = [value in have for value in terms.values]
    return (all(found) if terms.every else any(found)) is not terms.negated
