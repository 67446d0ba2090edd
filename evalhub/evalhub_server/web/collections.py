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
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.errors import LIST, PATCH, SCOPED, broken_rule, not_found
from evalhub_server.web.openapi.operation import Answer, Body, Operation, Parameter, links, names
from evalhub_server.web.openapi.parameters import CATEGORY, LIMIT, NAME, OFFSET, OWNER, SCOPE, TAGS, terms
from evalhub_server.web.openapi.patches import patch_schema
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.resource_lists import SORTS, page_response, resource_query
from evalhub_server.web.responses import NO_CONTENT, Reply, json_response
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
CONFIG = Body(type=CollectionConfig, examples={"quickstart": examples.COLLECTION})
CHANGED = Answer(text="The collection as it is now.", type=CollectionResource, example=examples.collection)
INVALID = broken_rule("CollectionConfig.name", "required")
READ_ONLY = (problems.read_only("collection", "quickstart-v1"), not_found("collection"))

COLLECTION_FILTERS = (
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
LIST_COLLECTIONS = Operation(
    query=COLLECTION_FILTERS,
    answer=Answer(
        text="One page of collections.", type=Page[CollectionResource], example=examples.collections
    ),
    errors=(*LIST, *SCOPED),
)


@route("/", http_method=READ_METHODS, operation=LIST_COLLECTIONS)
async def list_collections(request: ApiRequest, services: NamedDependency[Services]) -> Reply:
    """List collections: those that come with the server and the tenant's own."""
    parameters = Query(request.scope)
    query = resource_query(
        parameters,
        Kind.COLLECTION,
        request.identity,
        filters=names(COLLECTION_FILTERS),
        labels=("tags", *TAXONOMY),
    )
    page = await services.resources.list(query)
    items = [
        msgspec.Raw(await services.encode_collection(record, request.identity))
        for record in page.items
        if isinstance(record, CollectionRecord)
    ]
    return page_response(parameters, query, page.total_count, items)


CREATE_COLLECTION = Operation(
    body=CONFIG,
    answer=Answer(
        status=201,
        text="The collection is stored.",
        type=CollectionResource,
        links=COLLECTION_LINKS,
        example=examples.collection,
    ),
    errors=(INVALID,),
)


@post("/", status_code=201, operation=CREATE_COLLECTION)
async def create_collection(request: ApiRequest, services: NamedDependency[Services]) -> Reply:
    """Create a collection.

    Its benchmarks need not be there yet, but jobs of the collection are refused until they are. Lists such as `domains`
    that it leaves empty are shown as its benchmarks have them. With a `curation_order` above 0 it is curated, and can
    only be cloned and deleted from then on.
    """
    config = read_collection(await request.body())
    collection = await services.resources.create_collection(config, request.identity)
    return json_response(await services.encode_collection(collection, request.identity) + b"\n", 201)


GET_COLLECTION = Operation(
    answer=Answer(text="The collection.", type=CollectionResource, example=examples.collection),
    errors=(not_found("collection"),),
)


@route("/{collection_id:str}", http_method=READ_METHODS, operation=GET_COLLECTION)
async def get_collection(
    request: ApiRequest, collection_id: FromPath[str], services: NamedDependency[Services]
) -> Reply:
    """Read a collection."""
    collection = await services.resources.get_collection(collection_id, request.identity)
    return json_response(await services.encode_collection(collection, request.identity) + b"\n")


REPLACE_COLLECTION = Operation(body=CONFIG, answer=CHANGED, errors=(INVALID, *READ_ONLY))


@put("/{collection_id:str}", operation=REPLACE_COLLECTION)
async def replace_collection(
    request: ApiRequest, collection_id: FromPath[str], services: NamedDependency[Services]
) -> Reply:
    """Replace a collection.

    Id, owner, time of creation, origin, pin and number of runs stay; jobs that exist keep what they have.
    """
    config = read_collection(await request.body())
    collection = await services.resources.replace_collection(collection_id, config, request.identity)
    return json_response(await services.encode_collection(collection, request.identity) + b"\n")


PATCH_COLLECTION = Operation(
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
    errors=(*PATCH, INVALID, *READ_ONLY),
)


@patch("/{collection_id:str}", operation=PATCH_COLLECTION)
async def patch_collection(
    request: ApiRequest, collection_id: FromPath[str], services: NamedDependency[Services]
) -> Reply:
    """Change parts of a collection.

    The body is a JSON Patch (RFC 6902) of the operations that the schema lists, or an object to merge (RFC 7396). What
    cannot be applied, and what would break a rule, changes nothing. `replace` adds what is not there.
    """
    changes = read_patch(await request.body(), Kind.COLLECTION)
    collection = await services.resources.patch_collection(collection_id, changes, request.identity)
    return json_response(await services.encode_collection(collection, request.identity) + b"\n")


DELETE_COLLECTION = Operation(answer=Answer(status=204, text="The collection is gone."), errors=READ_ONLY)


@delete(
    "/{collection_id:str}", status_code=200, operation=DELETE_COLLECTION
)  # NO_CONTENT has the real status
async def delete_collection(
    request: ApiRequest, collection_id: FromPath[str], services: NamedDependency[Services]
) -> Reply:
    """Delete a collection. Jobs that exist keep what they have."""
    await services.resources.delete_collection(collection_id, request.identity)
    return NO_CONTENT


CLONE_COLLECTION = Operation(
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
        links=COLLECTION_LINKS,
        example=examples.clone,
    ),
    errors=(INVALID, not_found("collection")),
)


@post("/{collection_id:str}/clones", status_code=201, operation=CLONE_COLLECTION)
async def clone_collection(
    request: ApiRequest, collection_id: FromPath[str], services: NamedDependency[Services]
) -> Reply:
    """Copy a collection, with changes.

    What the body has and is not empty takes the place of what the source has; a field that no collection has is refused.
    The clone is the caller's own, neither curated nor pinned, and says in `derived_from` where it comes from.
    """
    body = await request.body()
    # Unlike elsewhere in the contract, a missing source is reported before an invalid body.
    source = await services.resources.get_collection(collection_id, request.identity)
    clone = await services.resources.clone_collection(source, read_overrides(body), request.identity)
    return json_response(await services.encode_collection(clone, request.identity) + b"\n", 201)


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
