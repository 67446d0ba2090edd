"""Collections: ``/api/v1/evaluations/collections``."""

from __future__ import annotations

import msgspec
from litestar import Router, delete, patch, post, put, route
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.domain.json_patch import read_patch
from evalhub_server.domain.resource import TAXONOMY, CollectionRecord, Kind
from evalhub_server.domain.resource_requests import read_collection
from evalhub_server.domain.resource_transitions import CloneOverrides, read_overrides
from evalhub_server.models.collection import CollectionConfig, CollectionResource
from evalhub_server.models.common import Page
from evalhub_server.web.conditional import ListState, if_match, resource_response, tagged_response
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.errors import ID, LIST, PATCH, SCOPED, broken_rule, not_found
from evalhub_server.web.openapi.operation import Operation, Parameter, RequestBody, Success, links, names
from evalhub_server.web.openapi.parameters import (
    CATEGORY,
    LIMIT,
    NAME,
    OFFSET,
    OWNER,
    SCOPE,
    TAGGED,
    TAGS,
    terms,
)
from evalhub_server.web.openapi.patches import patch_schema
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.resource_lists import SORTS, encode_page, resource_query
from evalhub_server.web.responses import NO_CONTENT, RawResponse
from evalhub_server.web.services import Services

COLLECTION_LINKS = links(
    "collection_id",
    "$response.body#/resource/id",
    "get_collection",
    "replace_collection",
    "patch_collection",
    "delete_collection",
    "clone_collection",
)
CONFIG = RequestBody(type=CollectionConfig, examples={"quickstart": examples.COLLECTION})
CHANGED = Success(
    description="The updated collection.",
    type=CollectionResource,
    example=examples.collection,
    headers=TAGGED,
)
INVALID = broken_rule("CollectionConfig.name", "required")
CHANGED_SINCE = (problems.precondition_failed("collection", ID),)
READ_ONLY = (problems.read_only("collection", "quickstart-v1"), not_found("collection"))

COLLECTION_FILTERS = (
    LIMIT,
    OFFSET,
    NAME,
    CATEGORY,
    TAGS,
    OWNER,
    SCOPE,
    *(terms(name, f"Values in `{name}` of the collection or of its benchmarks.") for name in TAXONOMY),
    Parameter(
        name="sort_by",
        description="Sort field; a leading `-` sorts in descending order. Without it, the server's come before the tenant's; curated ones come first in both, then newest first.",
        schema={"type": "string", "enum": [f"{sign}{name}" for name in SORTS for sign in ("", "-")]},
    ),
)
COLLECTION_FILTER_NAMES = names(COLLECTION_FILTERS)
LIST_COLLECTIONS = Operation(
    query=COLLECTION_FILTERS,
    success=Success(
        description="One page of collections.",
        type=Page[CollectionResource],
        example=examples.collections,
        headers=TAGGED,
    ),
    errors=(*LIST, *SCOPED),
)


@route("/", http_method=READ_METHODS, operation=LIST_COLLECTIONS)
async def list_collections(request: ApiRequest) -> RawResponse:
    """List collections: those of the server's configuration, then the tenant's own."""
    services = request.services
    state = ListState(request, services.feed.epoch, services.resources.changes)
    if (known := services.lists.find(request, state)) is not None:
        return known
    parameters = Query(request.scope)
    query = resource_query(
        parameters,
        Kind.COLLECTION,
        request.identity,
        filters=COLLECTION_FILTER_NAMES,
        labels=("tags", *TAXONOMY),
    )
    if state.not_modified is not None:
        return state.not_modified

    async def read() -> bytes:
        page = await services.resources.list(query)
        items = [
            msgspec.Raw(await services.encode_collection(record, request.identity))
            for record in page.items
            if isinstance(record, CollectionRecord)
        ]
        return encode_page(parameters, query, page.total_count, items)

    return await services.lists.build(request, state, read)


CREATE_COLLECTION = Operation(
    body=CONFIG,
    success=Success(
        status=201,
        description="The collection is stored.",
        type=CollectionResource,
        links=COLLECTION_LINKS,
        example=examples.collection,
        headers=TAGGED,
    ),
    errors=(INVALID,),
)


@post("/", status_code=201, operation=CREATE_COLLECTION)
async def create_collection(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """Create a collection.

    Its benchmarks need not exist yet, but jobs of the collection are refused until they do. Empty lists such as `domains`
    are filled from its benchmarks in responses. A collection with a `curation_order` above 0 is curated: it can only be
    cloned and deleted.
    """
    config = read_collection(await request.body())
    collection = await services.resources.create_collection(config, request.identity)
    return resource_response(
        request, await services.encode_collection(collection, request.identity), collection.updated_at, 201
    )


GET_COLLECTION = Operation(
    success=Success(
        description="The collection.", type=CollectionResource, example=examples.collection, headers=TAGGED
    ),
    errors=(not_found("collection"),),
)


@route("/{collection_id:str}", http_method=READ_METHODS, operation=GET_COLLECTION)
async def get_collection(request: ApiRequest, collection_id: FromPath[str]) -> RawResponse:
    """Get a collection."""
    services = request.services
    collection = await services.resources.get_collection(collection_id, request.identity)
    return tagged_response(request, await services.tagged_collection(collection, request.identity))


REPLACE_COLLECTION = Operation(body=CONFIG, success=CHANGED, errors=(INVALID, *READ_ONLY, *CHANGED_SINCE))


@put("/{collection_id:str}", operation=REPLACE_COLLECTION)
async def replace_collection(
    request: ApiRequest, collection_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Replace a collection.

    Its id, owner, creation time, origin, pin and number of runs are kept; existing jobs are not affected.
    """
    config = read_collection(await request.body())
    collection = await services.resources.replace_collection(
        collection_id, config, request.identity, if_match(request)
    )
    return resource_response(
        request, await services.encode_collection(collection, request.identity), collection.updated_at
    )


PATCH_COLLECTION = Operation(
    body=RequestBody(
        schema=patch_schema(Kind.COLLECTION),
        examples={
            "JSON Patch": [
                {"op": "replace", "path": "/description", "value": "For every night"},
                {"op": "add", "path": "/pinned_order", "value": 1},
            ],
            "an object to merge": {"description": "For every night", "tags": None},
        },
    ),
    success=CHANGED,
    errors=(*PATCH, INVALID, *READ_ONLY, *CHANGED_SINCE),
)


@patch("/{collection_id:str}", operation=PATCH_COLLECTION)
async def patch_collection(
    request: ApiRequest, collection_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Update parts of a collection.

    The body is a JSON Patch (RFC 6902) of the operations that the schema lists, or an object to merge (RFC 7396). A patch
    that cannot be applied or that breaks a rule changes nothing. `replace` adds an absent member.
    """
    changes = read_patch(await request.body(), Kind.COLLECTION)
    collection = await services.resources.patch_collection(
        collection_id, changes, request.identity, if_match(request)
    )
    return resource_response(
        request, await services.encode_collection(collection, request.identity), collection.updated_at
    )


DELETE_COLLECTION = Operation(
    success=Success(status=204, description="The collection is deleted."), errors=READ_ONLY
)


@delete(
    "/{collection_id:str}", status_code=200, operation=DELETE_COLLECTION
)  # NO_CONTENT has the real status
async def delete_collection(
    request: ApiRequest, collection_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Delete a collection. Existing jobs are not affected."""
    await services.resources.delete_collection(collection_id, request.identity)
    return NO_CONTENT


CLONE_COLLECTION = Operation(
    body=RequestBody(
        type=CloneOverrides,
        strict=True,
        required=False,
        examples={"nothing else": {}, "another threshold": {"pass_criteria": {"threshold": 0.9}}},
    ),
    success=Success(
        status=201,
        description="The clone is stored.",
        type=CollectionResource,
        links=COLLECTION_LINKS,
        example=examples.clone,
        headers=TAGGED,
    ),
    errors=(INVALID, not_found("collection")),
)


@post("/{collection_id:str}/clones", status_code=201, operation=CLONE_COLLECTION)
async def clone_collection(
    request: ApiRequest, collection_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Clone a collection, with changes.

    Fields of the body that are not empty replace those of the source; unknown fields are refused. The clone belongs to
    the client's tenant, is neither curated nor pinned, and has the id of the source in `derived_from`.
    """
    body = await request.body()
    # Unlike elsewhere in the contract, a missing source is reported before an invalid body.
    source = await services.resources.get_collection(collection_id, request.identity)
    clone = await services.resources.clone_collection(source, read_overrides(body), request.identity)
    return resource_response(
        request, await services.encode_collection(clone, request.identity), clone.updated_at, 201
    )


collection_router = Router(
    "/api/v1/evaluations/collections",
    route_handlers=[
        list_collections,
        create_collection,
        get_collection,
        replace_collection,
        patch_collection,
        delete_collection,
        clone_collection,
    ],
)
