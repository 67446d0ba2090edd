"""``/api/v1/evaluations/collections``."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, delete, get, patch, post, put
from litestar.types import ControllerRouterHandler

from evalhub_server.domain import problems
from evalhub_server.domain.json_patch import read_patch
from evalhub_server.domain.resource import TAXONOMY, CollectionRecord, Kind, ProviderRecord
from evalhub_server.domain.resource_requests import read_collection
from evalhub_server.domain.resource_transitions import CloneOverrides, read_overrides
from evalhub_server.domain.resource_view import collection_resource
from evalhub_server.engine.identity import Identity
from evalhub_server.engine.resource_store import index
from evalhub_server.engine.resources import ResourceService
from evalhub_server.models.collection import CollectionConfig, CollectionResource
from evalhub_server.models.common import Page
from evalhub_server.web.body import read_body
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.errors import LIST, PATCH, SCOPED, broken_rule, not_found
from evalhub_server.web.openapi.operation import Answer, Body, Operation, Parameter, links, names
from evalhub_server.web.openapi.parameters import CATEGORY, LIMIT, NAME, OFFSET, OWNER, SCOPE, TAGS, terms
from evalhub_server.web.openapi.patches import patch_schema
from evalhub_server.web.query import Query
from evalhub_server.web.request_context import context
from evalhub_server.web.resource_lists import SORTS, page_response, resource_query
from evalhub_server.web.response_cache import RecordEncoder
from evalhub_server.web.responses import NO_CONTENT, Reply, json_response

AnyRequest = Request[Any, Any, Any]
PATH = "/api/v1/evaluations/collections"
ONE = f"{PATH}/{{collection_id:str}}"

FILTERS = (
    LIMIT,
    OFFSET,
    NAME,
    CATEGORY,
    TAGS,
    OWNER,
    SCOPE,
    *(
        terms(name, f"Terms in `{name}`, the collection's own or those of its benchmarks.")
        for name in TAXONOMY
    ),
    Parameter(
        name="sort_by",
        text="The order; `-` in front turns it round. The default is `-created_at`.",
        schema={"type": "string", "enum": [f"{sign}{name}" for name in SORTS for sign in ("", "-")]},
    ),
)
ALLOWED = names(FILTERS)
ON_A_COLLECTION = (
    "get_collection",
    "replace_collection",
    "patch_collection",
    "delete_collection",
    "clone_collection",
)
TO_IT = links("collection_id", "$response.body#/resource/id", *ON_A_COLLECTION)
CONFIG = Body(type=CollectionConfig, examples={"quickstart": examples.COLLECTION})
READ_ONLY = (problems.read_only("collection", "quickstart-v1"), not_found("collection"))
BROKEN = broken_rule("CollectionConfig.name", "required")
CHANGED = Answer(text="The collection as it is now.", type=CollectionResource, example=examples.collection)


def collection_routes(resources: ResourceService, body_limit_bytes: int) -> list[ControllerRouterHandler]:
    """The handlers, bound to the service. ``body_limit_bytes`` -1 means any size."""
    encoder = RecordEncoder(_resource)

    async def shown(record: CollectionRecord, identity: Identity) -> bytes:
        return encoder(record, *await resources.member_providers(record, identity))

    async def answer(record: CollectionRecord, request: AnyRequest, status: int = 200) -> Reply:
        return json_response(await shown(record, context(request).identity) + b"\n", status)

    @get(
        PATH,
        operation=Operation(
            query=FILTERS,
            answer=Answer(
                text="One page of collections.",
                type=Page[CollectionResource],
                example=examples.collections,
            ),
            errors=(*LIST, *SCOPED),
        ),
    )
    async def list_collections(request: AnyRequest) -> Reply:
        """List collections: those that come with the server and the tenant's own."""
        query, identity = Query(request.scope), context(request).identity
        asked = resource_query(query, Kind.COLLECTION, identity, filters=ALLOWED, labels=("tags", *TAXONOMY))
        page = await resources.list(asked)
        items = [
            msgspec.Raw(await shown(record, identity))
            for record in page.items
            if isinstance(record, CollectionRecord)
        ]
        return page_response(query, asked, page.total_count, items)

    @post(
        PATH,
        status_code=201,
        operation=Operation(
            body=CONFIG,
            answer=Answer(
                status=201,
                text="The collection is stored.",
                type=CollectionResource,
                links=TO_IT,
                example=examples.collection,
            ),
            errors=(BROKEN,),
        ),
    )
    async def create_collection(request: AnyRequest) -> Reply:
        """Create a collection.

        Its benchmarks need not be there yet, but jobs of the collection are refused until they are. Lists such as `domains`
        that it leaves empty are shown as its benchmarks have them. With a `curation_order` above 0 it is curated, and can
        only be cloned and deleted from then on.
        """
        config = read_collection(await read_body(request, body_limit_bytes))
        return await answer(
            await resources.create_collection(config, context(request).identity), request, 201
        )

    @get(
        ONE,
        operation=Operation(
            answer=Answer(text="The collection.", type=CollectionResource, example=examples.collection),
            errors=(not_found("collection"),),
        ),
    )
    async def get_collection(request: AnyRequest, collection_id: str) -> Reply:
        """Read a collection."""
        return await answer(await resources.get_collection(collection_id, context(request).identity), request)

    @put(ONE, operation=Operation(body=CONFIG, answer=CHANGED, errors=(BROKEN, *READ_ONLY)))
    async def replace_collection(request: AnyRequest, collection_id: str) -> Reply:
        """Replace a collection.

        Id, owner, time of creation, origin, pin and number of runs stay; jobs that exist keep what they have.
        """
        config = read_collection(await read_body(request, body_limit_bytes))
        return await answer(
            await resources.replace_collection(collection_id, config, context(request).identity), request
        )

    @patch(
        ONE,
        operation=Operation(
            body=Body(
                schema=patch_schema(Kind.COLLECTION),
                examples={
                    "JSON Patch": [
                        {"op": "replace", "path": "/description", "value": "For every night"},
                        {"op": "add", "path": "/pinned_order", "value": 1},
                    ],
                    "an object to merge": {"description": "For every night", "tags": None},
                },
            ),
            answer=CHANGED,
            errors=(*PATCH, BROKEN, *READ_ONLY),
        ),
    )
    async def patch_collection(request: AnyRequest, collection_id: str) -> Reply:
        """Change parts of a collection.

        The body is a JSON Patch (RFC 6902) of the operations that the schema lists, or an object to merge (RFC 7396). What
        cannot be applied, and what would break a rule, changes nothing. `replace` adds what is not there.
        """
        changes = read_patch(await read_body(request, body_limit_bytes), Kind.COLLECTION)
        return await answer(
            await resources.patch_collection(collection_id, changes, context(request).identity), request
        )

    @delete(
        ONE,
        status_code=200,  # 204 is in the answer; see responses
        operation=Operation(answer=Answer(status=204, text="The collection is gone."), errors=READ_ONLY),
    )
    async def delete_collection(request: AnyRequest, collection_id: str) -> Reply:
        """Delete a collection. Jobs that exist keep what they have."""
        await resources.delete_collection(collection_id, context(request).identity)
        return NO_CONTENT

    @post(
        f"{ONE}/clones",
        status_code=201,
        operation=Operation(
            body=Body(
                type=CloneOverrides,
                strict=True,
                required=False,
                examples={"nothing else": {}, "another threshold": {"pass_criteria": {"threshold": 0.9}}},
            ),
            answer=Answer(
                status=201,
                text="The clone is stored.",
                type=CollectionResource,
                links=TO_IT,
                example=examples.clone,
            ),
            errors=(BROKEN, not_found("collection")),
        ),
    )
    async def clone_collection(request: AnyRequest, collection_id: str) -> Reply:
        """Copy a collection, with changes.

        What the body has and is not empty takes the place of what the source has; a field that no collection has is refused.
        The clone is the caller's own, neither curated nor pinned, and says in `derived_from` where it comes from.
        """
        body = await read_body(request, body_limit_bytes)
        identity = context(request).identity
        # Unlike elsewhere in the contract, a source that is not there comes before what is wrong with the body.
        source = await resources.get_collection(collection_id, identity)
        return await answer(
            await resources.clone_collection(source, read_overrides(body), identity), request, 201
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
    return collection_resource(record, index(providers))
