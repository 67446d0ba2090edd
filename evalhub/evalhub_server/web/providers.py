"""Providers: ``/api/v1/evaluations/providers``."""

from __future__ import annotations

import msgspec
from litestar import Router, delete, patch, put
from litestar.di import NamedDependency
from litestar.params import FromPath

from evalhub_server.domain import problems
from evalhub_server.domain.json_patch import read_patch
from evalhub_server.domain.resource import Kind, ProviderRecord
from evalhub_server.domain.resource_requests import read_provider
from evalhub_server.models.common import Page
from evalhub_server.models.provider import Provider, ProviderConfig
from evalhub_server.web.api_route import post, route
from evalhub_server.web.conditional import ListState, if_match, resource_response, tagged_response
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.errors import ID, LIST, PATCH, SCOPED, broken_rule, not_found
from evalhub_server.web.openapi.operation import Operation, RequestBody, Success, links, names
from evalhub_server.web.openapi.parameters import LIMIT, NAME, OFFSET, OWNER, SCOPE, TAGGED, TAGS, boolean
from evalhub_server.web.openapi.patches import patch_schema
from evalhub_server.web.query import Query
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.resource_lists import encode_page, resource_query
from evalhub_server.web.responses import NO_CONTENT, RawResponse
from evalhub_server.web.services import Services

CONFIG = RequestBody(type=ProviderConfig, examples={"local": examples.PROVIDER})
CHANGED = Success(
    description="The updated provider.", type=Provider, example=examples.provider, headers=TAGGED
)
INVALID = (broken_rule("ProviderConfig.name", "required"), problems.remote_commands_not_allowed())
CHANGED_SINCE = (problems.precondition_failed("provider", ID),)
READ_ONLY = (problems.read_only("provider", "quickstart"), not_found("provider"))

PROVIDER_FILTERS = (
    LIMIT,
    OFFSET,
    boolean(
        "benchmarks", "Include the benchmarks of each provider; otherwise the lists are empty.", default=True
    ),
    NAME,
    TAGS,
    OWNER,
    SCOPE,
)
PROVIDER_FILTER_NAMES = names(PROVIDER_FILTERS)
LIST_PROVIDERS = Operation(
    query=PROVIDER_FILTERS,
    success=Success(
        description="One page of providers.", type=Page[Provider], example=examples.providers, headers=TAGGED
    ),
    errors=(*LIST, *SCOPED),
)


@route("/", http_method=READ_METHODS, operation=LIST_PROVIDERS)
async def list_providers(request: ApiRequest) -> RawResponse:
    """List providers: those of the server's configuration, then the tenant's own, newest first."""
    services = request.services
    state = ListState(
        request, services.feed.epoch, services.resources.changes, services.resources.readiness_state
    )
    if (known := services.lists.find(request, state)) is not None:
        return known
    parameters = Query(request.scope)
    query = resource_query(
        parameters, Kind.PROVIDER, request.identity, filters=PROVIDER_FILTER_NAMES, labels=("tags",)
    )
    if parameters.boolean("benchmarks", default=True):
        encode = services.encode_provider
    else:
        encode = services.encode_provider_without_benchmarks
    if state.not_modified is not None:
        return state.not_modified

    async def read() -> bytes:
        page = await services.resources.list(query)
        providers = [record for record in page.items if isinstance(record, ProviderRecord)]
        items = [msgspec.Raw(encode(record)) for record in providers]
        return encode_page(parameters, query, page.total_count, items)

    return await services.lists.build(request, state, read)


CREATE_PROVIDER = Operation(
    body=CONFIG,
    success=Success(
        status=201,
        description="The provider is stored.",
        type=Provider,
        links=links(
            "provider_id",
            "$response.body#/resource/id",
            "get_provider",
            "replace_provider",
            "patch_provider",
            "delete_provider",
        ),
        example=examples.provider,
        headers=TAGGED,
    ),
    errors=INVALID,
)


@post("/", status_code=201, operation=CREATE_PROVIDER)
async def create_provider(request: ApiRequest, services: NamedDependency[Services]) -> RawResponse:
    """Create a provider."""
    config = read_provider(await request.body())
    provider = await services.resources.create_provider(config, request.identity)
    return resource_response(request, services.encode_provider(provider), provider.updated_at, 201)


GET_PROVIDER = Operation(
    success=Success(description="The provider.", type=Provider, example=examples.provider, headers=TAGGED),
    errors=(not_found("provider"),),
)


@route("/{provider_id:str}", http_method=READ_METHODS, operation=GET_PROVIDER)
async def get_provider(request: ApiRequest, provider_id: FromPath[str]) -> RawResponse:
    """Get a provider."""
    services = request.services
    provider = await services.resources.get_provider(provider_id, request.identity)
    return tagged_response(request, services.tagged_provider(provider))


REPLACE_PROVIDER = Operation(body=CONFIG, success=CHANGED, errors=(*INVALID, *READ_ONLY, *CHANGED_SINCE))


@put("/{provider_id:str}", operation=REPLACE_PROVIDER)
async def replace_provider(
    request: ApiRequest, provider_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Replace a provider. Its id, owner and creation time are kept; existing jobs are not affected."""
    config = read_provider(await request.body())
    provider = await services.resources.replace_provider(
        provider_id, config, request.identity, if_match(request)
    )
    return resource_response(request, services.encode_provider(provider), provider.updated_at)


PATCH_PROVIDER = Operation(
    body=RequestBody(
        schema=patch_schema(Kind.PROVIDER),
        examples={
            "JSON Patch": [{"op": "replace", "path": "/title", "value": "Mine"}],
            "an object to merge": {"title": "Mine", "description": None},
        },
    ),
    success=CHANGED,
    errors=(*PATCH, *INVALID, *READ_ONLY, *CHANGED_SINCE),
)


@patch("/{provider_id:str}", operation=PATCH_PROVIDER)
async def patch_provider(
    request: ApiRequest, provider_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Update parts of a provider.

    The body is a JSON Patch (RFC 6902) of the operations that the schema lists, or an object to merge (RFC 7396). A patch
    that cannot be applied or that breaks a rule changes nothing. `replace` adds an absent member.
    """
    changes = read_patch(await request.body(), Kind.PROVIDER)
    provider = await services.resources.patch_provider(
        provider_id, changes, request.identity, if_match(request)
    )
    return resource_response(request, services.encode_provider(provider), provider.updated_at)


DELETE_PROVIDER = Operation(
    success=Success(status=204, description="The provider is deleted."), errors=READ_ONLY
)


@delete("/{provider_id:str}", status_code=200, operation=DELETE_PROVIDER)  # NO_CONTENT has the real status
async def delete_provider(
    request: ApiRequest, provider_id: FromPath[str], services: NamedDependency[Services]
) -> RawResponse:
    """Delete a provider. Existing jobs are not affected."""
    await services.resources.delete_provider(provider_id, request.identity)
    return NO_CONTENT


provider_router = Router(
    "/api/v1/evaluations/providers",
    route_handlers=[
        list_providers,
        create_provider,
        get_provider,
        replace_provider,
        patch_provider,
        delete_provider,
    ],
)
