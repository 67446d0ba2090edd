"""``/api/v1/evaluations/collections``."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, delete, get, patch, post, put
from litestar.response.base import ASGIResponse
from litestar.types import ControllerRouterHandler

from evalhub_server.domain.configs import read_collection
from evalhub_server.domain.derived import offered
from evalhub_server.domain.lifecycle import read_overrides
from evalhub_server.domain.patch import read_patch
from evalhub_server.domain.resource import TAXONOMY, CollectionRecord, Kind, ProviderRecord
from evalhub_server.domain.resource_view import collection_resource
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.resources import ResourceService
from evalhub_server.models.collection import CollectionResource
from evalhub_server.web.body import read_body
from evalhub_server.web.context import context
from evalhub_server.web.encoding import RecordEncoder
from evalhub_server.web.query import Query
from evalhub_server.web.resourcelists import page_response, resource_query
from evalhub_server.web.responses import json_response, no_content

AnyRequest = Request[Any, Any, Any]
FILTERS = ("limit", "offset", "name", "category", "tags", "owner", "scope", *TAXONOMY, "sort_by")
PATH = "/api/v1/evaluations/collections"
ONE = f"{PATH}/{{collection_id:str}}"


def collection_routes(resources: ResourceService, body_limit_bytes: int) -> list[ControllerRouterHandler]:
    """The handlers, bound to the service. ``body_limit_bytes`` -1 means any size."""
    encoder = RecordEncoder(_resource)

    async def shown(record: CollectionRecord, identity: Identity) -> bytes:
        return encoder(record, *await resources.member_providers(record, identity))

    async def answer(record: CollectionRecord, request: AnyRequest, status: int = 200) -> ASGIResponse:
        return json_response(await shown(record, context(request).identity) + b"\n", status)

    @get(PATH)
    async def list_collections(request: AnyRequest) -> ASGIResponse:
        query, identity = Query(request.scope), context(request).identity
        asked = resource_query(query, Kind.COLLECTION, identity, filters=FILTERS, labels=("tags", *TAXONOMY))
        page = await resources.list(asked)
        items = [
            msgspec.Raw(await shown(record, identity))
            for record in page.items
            if isinstance(record, CollectionRecord)
        ]
        return page_response(query, asked, page.total_count, items)

    @post(PATH, status_code=201)
    async def create_collection(request: AnyRequest) -> ASGIResponse:
        config = read_collection(await read_body(request, body_limit_bytes))
        return await answer(
            await resources.create_collection(config, context(request).identity), request, 201
        )

    @get(ONE)
    async def get_collection(request: AnyRequest, collection_id: str) -> ASGIResponse:
        return await answer(await resources.get_collection(collection_id, context(request).identity), request)

    @put(ONE)
    async def replace_collection(request: AnyRequest, collection_id: str) -> ASGIResponse:
        config = read_collection(await read_body(request, body_limit_bytes))
        return await answer(
            await resources.replace_collection(collection_id, config, context(request).identity), request
        )

    @patch(ONE)
    async def patch_collection(request: AnyRequest, collection_id: str) -> ASGIResponse:
        changes = read_patch(await read_body(request, body_limit_bytes), Kind.COLLECTION)
        return await answer(
            await resources.patch_collection(collection_id, changes, context(request).identity), request
        )

    @delete(ONE, status_code=200)  # 204 is in the answer; see responses
    async def delete_collection(request: AnyRequest, collection_id: str) -> ASGIResponse:
        await resources.delete_collection(collection_id, context(request).identity)
        return no_content()

    @post(f"{ONE}/clones", status_code=201)
    async def clone_collection(request: AnyRequest, collection_id: str) -> ASGIResponse:
        overrides = read_overrides(await read_body(request, body_limit_bytes))
        return await answer(
            await resources.clone_collection(collection_id, overrides, context(request).identity),
            request,
            201,
        )

    return [
        list_collections,
        create_collection,
        get_collection,
        replace_collection,
        patch_collection,
        delete_collection,
        clone_collection,
    ]


def _resource(record: CollectionRecord, *providers: ProviderRecord) -> CollectionResource:
    return collection_resource(record, offered({provider.id: provider.config for provider in providers}))
