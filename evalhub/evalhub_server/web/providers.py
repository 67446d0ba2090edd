"""``/api/v1/evaluations/providers``."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, delete, get, patch, post, put
from litestar.response.base import ASGIResponse
from litestar.types import ControllerRouterHandler

from evalhub_server.domain.configs import read_provider
from evalhub_server.domain.patch import read_patch
from evalhub_server.domain.resource import Kind, ProviderRecord
from evalhub_server.domain.resource_view import provider_resource
from evalhub_server.engine.resources import ResourceService
from evalhub_server.models.provider import Provider
from evalhub_server.web.body import read_body
from evalhub_server.web.context import context
from evalhub_server.web.encoding import RecordEncoder
from evalhub_server.web.query import Query
from evalhub_server.web.resourcelists import page_response, resource_query
from evalhub_server.web.responses import json_response, no_content

AnyRequest = Request[Any, Any, Any]
FILTERS = ("limit", "offset", "benchmarks", "name", "tags", "owner", "scope")
PATH = "/api/v1/evaluations/providers"
ONE = f"{PATH}/{{provider_id:str}}"


def provider_routes(resources: ResourceService, body_limit_bytes: int) -> list[ControllerRouterHandler]:
    """The handlers, bound to the service. ``body_limit_bytes`` -1 means any size."""
    encoder = RecordEncoder(provider_resource)
    bare_encoder = RecordEncoder(_without_benchmarks)

    def answer(record: ProviderRecord, status: int = 200) -> ASGIResponse:
        return json_response(encoder(record) + b"\n", status)

    @get(PATH)
    async def list_providers(request: AnyRequest) -> ASGIResponse:
        query = Query(request.scope)
        asked = resource_query(
            query, Kind.PROVIDER, context(request).identity, filters=FILTERS, labels=("tags",)
        )
        shown = encoder if query.boolean("benchmarks", default=True) else bare_encoder
        page = await resources.list(asked)
        items = [msgspec.Raw(shown(record)) for record in page.items]
        return page_response(query, asked, page.total_count, items)

    @post(PATH, status_code=201)
    async def create_provider(request: AnyRequest) -> ASGIResponse:
        config = read_provider(await read_body(request, body_limit_bytes))
        return answer(await resources.create_provider(config, context(request).identity), 201)

    @get(ONE)
    async def get_provider(request: AnyRequest, provider_id: str) -> ASGIResponse:
        return answer(await resources.get_provider(provider_id, context(request).identity))

    @put(ONE)
    async def replace_provider(request: AnyRequest, provider_id: str) -> ASGIResponse:
        config = read_provider(await read_body(request, body_limit_bytes))
        return answer(await resources.replace_provider(provider_id, config, context(request).identity))

    @patch(ONE)
    async def patch_provider(request: AnyRequest, provider_id: str) -> ASGIResponse:
        changes = read_patch(await read_body(request, body_limit_bytes), Kind.PROVIDER)
        return answer(await resources.patch_provider(provider_id, changes, context(request).identity))

    @delete(ONE, status_code=200)  # 204 is in the answer; see responses
    async def delete_provider(request: AnyRequest, provider_id: str) -> ASGIResponse:
        await resources.delete_provider(provider_id, context(request).identity)
        return no_content()

    return [list_providers, create_provider, get_provider, replace_provider, patch_provider, delete_provider]


def _without_benchmarks(record: ProviderRecord) -> Provider:
    return msgspec.structs.replace(provider_resource(record), benchmarks=())
