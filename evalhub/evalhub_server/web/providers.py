"""``/api/v1/evaluations/providers``."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar import Request, delete, get, patch, post, put
from litestar.types import ControllerRouterHandler

from evalhub_server.domain import problems
from evalhub_server.domain.json_patch import read_patch
from evalhub_server.domain.resource import Kind, ProviderRecord
from evalhub_server.domain.resource_requests import read_provider
from evalhub_server.domain.resource_view import provider_resource
from evalhub_server.engine.resources import ResourceService
from evalhub_server.models.common import Page
from evalhub_server.models.provider import Provider, ProviderConfig
from evalhub_server.web.body import read_body
from evalhub_server.web.openapi import examples
from evalhub_server.web.openapi.errors import LIST, PATCH, SCOPED, broken_rule, not_found
from evalhub_server.web.openapi.operation import Answer, Body, Operation, links, names
from evalhub_server.web.openapi.parameters import LIMIT, NAME, OFFSET, OWNER, SCOPE, TAGS, boolean
from evalhub_server.web.openapi.patches import patch_schema
from evalhub_server.web.query import Query
from evalhub_server.web.request_context import context
from evalhub_server.web.resource_lists import page_response, resource_query
from evalhub_server.web.response_cache import RecordEncoder
from evalhub_server.web.responses import NO_CONTENT, Reply, json_response

AnyRequest = Request[Any, Any, Any]
PATH = "/api/v1/evaluations/providers"
ONE = f"{PATH}/{{provider_id:str}}"

FILTERS = (
    LIMIT,
    OFFSET,
    boolean(
        "benchmarks", "Write the benchmarks of each provider; otherwise the lists are empty.", default=True
    ),
    NAME,
    TAGS,
    OWNER,
    SCOPE,
)
ALLOWED = names(FILTERS)
ON_A_PROVIDER = ("get_provider", "replace_provider", "patch_provider", "delete_provider")
CONFIG = Body(type=ProviderConfig, examples={"local": examples.PROVIDER})
READ_ONLY = (problems.read_only("provider", "quickstart"), not_found("provider"))
WRITING = (broken_rule("ProviderConfig.name", "required"), problems.remote_commands_not_allowed())
CHANGED = Answer(text="The provider as it is now.", type=Provider, example=examples.provider)


def provider_routes(resources: ResourceService, body_limit_bytes: int) -> list[ControllerRouterHandler]:
    """The handlers, bound to the service. ``body_limit_bytes`` -1 means any size."""
    encoder = RecordEncoder(provider_resource)
    bare_encoder = RecordEncoder(_without_benchmarks)

    def answer(record: ProviderRecord, status: int = 200) -> Reply:
        return json_response(encoder(record) + b"\n", status)

    @get(
        PATH,
        operation=Operation(
            query=FILTERS,
            answer=Answer(
                text="One page of providers.",
                type=Page[Provider],
                example=examples.providers,
            ),
            errors=(*LIST, *SCOPED),
        ),
    )
    async def list_providers(request: AnyRequest) -> Reply:
        """List providers, the newest first: those that come with the server and the tenant's own."""
        query = Query(request.scope)
        asked = resource_query(
            query, Kind.PROVIDER, context(request).identity, filters=ALLOWED, labels=("tags",)
        )
        shown = encoder if query.boolean("benchmarks", default=True) else bare_encoder
        page = await resources.list(asked)
        items = [msgspec.Raw(shown(record)) for record in page.items]
        return page_response(query, asked, page.total_count, items)

    @post(
        PATH,
        status_code=201,
        operation=Operation(
            body=CONFIG,
            answer=Answer(
                status=201,
                text="The provider is stored.",
                type=Provider,
                links=links("provider_id", "$response.body#/resource/id", *ON_A_PROVIDER),
                example=examples.provider,
            ),
            errors=WRITING,
        ),
    )
    async def create_provider(request: AnyRequest) -> Reply:
        """Create a provider."""
        config = read_provider(await read_body(request, body_limit_bytes))
        return answer(await resources.create_provider(config, context(request).identity), 201)

    @get(
        ONE,
        operation=Operation(
            answer=Answer(text="The provider.", type=Provider, example=examples.provider),
            errors=(not_found("provider"),),
        ),
    )
    async def get_provider(request: AnyRequest, provider_id: str) -> Reply:
        """Read a provider."""
        return answer(await resources.get_provider(provider_id, context(request).identity))

    @put(ONE, operation=Operation(body=CONFIG, answer=CHANGED, errors=(*WRITING, *READ_ONLY)))
    async def replace_provider(request: AnyRequest, provider_id: str) -> Reply:
        """Replace a provider. Id, owner and time of creation stay; jobs that exist keep what they have."""
        config = read_provider(await read_body(request, body_limit_bytes))
        return answer(await resources.replace_provider(provider_id, config, context(request).identity))

    @patch(
        ONE,
        operation=Operation(
            body=Body(
                schema=patch_schema(Kind.PROVIDER),
                examples={
                    "JSON Patch": [{"op": "replace", "path": "/title", "value": "Mine"}],
                    "an object to merge": {"title": "Mine", "description": None},
                },
            ),
            answer=CHANGED,
            errors=(*PATCH, *WRITING, *READ_ONLY),
        ),
    )
    async def patch_provider(request: AnyRequest, provider_id: str) -> Reply:
        """Change parts of a provider.

        The body is a JSON Patch (RFC 6902) of the operations that the schema lists, or an object to merge (RFC 7396). What
        cannot be applied, and what would break a rule, changes nothing. `replace` adds what is not there.
        """
        changes = read_patch(await read_body(request, body_limit_bytes), Kind.PROVIDER)
        return answer(await resources.patch_provider(provider_id, changes, context(request).identity))

    @delete(
        ONE,
        status_code=200,  # 204 is in the answer; see responses
        operation=Operation(answer=Answer(status=204, text="The provider is gone."), errors=READ_ONLY),
    )
    async def delete_provider(request: AnyRequest, provider_id: str) -> Reply:
        """Delete a provider. Jobs that exist keep what they have."""
        await resources.delete_provider(provider_id, context(request).identity)
        return NO_CONTENT

    return [list_providers, create_provider, get_provider, replace_provider, patch_provider, delete_provider]


def _without_benchmarks(record: ProviderRecord) -> Provider:
    return msgspec.structs.replace(provider_resource(record), benchmarks=())
