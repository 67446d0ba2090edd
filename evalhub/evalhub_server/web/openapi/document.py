"""Puts the document together from the routes of the application."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from litestar.handlers import HTTPRouteHandler
from litestar.routes import BaseRoute, HTTPRoute

from evalhub_server import __version__
from evalhub_server.models.common import ErrorBody, Json
from evalhub_server.web.middleware import PUBLIC_PATHS
from evalhub_server.web.openapi.content import refusals, request_body, success
from evalhub_server.web.openapi.errors import errors_of
from evalhub_server.web.openapi.operation import Operation
from evalhub_server.web.openapi.parameters import HEADER_PARAMETERS, HEADERS, PATH
from evalhub_server.web.openapi.schemas import Schemas, described

API = "/api/v1/evaluations"
TITLE = "EvalHub Server"
ABOUT = """\
Runs evaluations of language models and keeps their results. A client submits a *job* that names benchmarks of *providers*
(evaluation frameworks), or a *collection* of them; adapters run the benchmarks and report events.

* Requests are JSON, whatever their `Content-Type` says. Unless an operation says otherwise, unknown fields are ignored, names
  match in any case, and null or an empty text stands for an absent field.
* Filters of lists: `a,b` asks for all of these values, `a|b` for any of them, and repeating the parameter is the same as a
  comma. Most parameters may be empty, which is as good as none. Booleans are also `1`, `t`, `T`, `TRUE`, `True` and the same for false.
* Errors have a `message_code` for programs. Any other method than those below is answered with 405 and `Allow`; `HEAD` works
  wherever `GET` does. A path that is not below is answered with 404 as plain text. A request that does not come to an end is
  answered with 408, one whose head is too large with 431, both without a body.
"""
TAGS = {
    "jobs": "Submit evaluations, follow them, read their results and logs.",
    "collections": "Benchmarks that are run and scored together.",
    "providers": "Evaluation frameworks and the benchmarks that they offer.",
    "server": "Health and description of the server itself.",
}
BEARER = "bearer"
METHODS = ("post", "get", "put", "patch", "delete")


class Route(NamedTuple):
    """One operation with its address."""

    path: str
    method: str
    parameters: tuple[str, ...]
    name: str
    documentation: str
    operation: Operation


def routes(all_routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """All that is part of the document. Raises :class:`LookupError` for a route that says nothing about itself."""
    for route in all_routes:
        if not isinstance(route, HTTPRoute):
            continue
        for handler in route.route_handlers:
            if handler.resolve_include_in_schema():
                for method in handler.http_methods - {"HEAD"}:
                    yield _route(route, handler, method)


def _route(route: HTTPRoute, handler: HTTPRouteHandler, method: str) -> Route:
    operation = handler.opt.get("operation")
    if not isinstance(operation, Operation):
        raise LookupError(
            f"{method} {route.path_format}: {handler.handler_name} has no operation=Operation(…)"
        )
    return Route(
        path=route.path_format,
        method=method.lower(),
        parameters=tuple(route.path_parameters),
        name=handler.handler_name,
        documentation=described(handler.fn),
        operation=operation,
    )


def make_document(all_routes: Iterable[BaseRoute]) -> Json:
    """The OpenAPI 3.1 document."""
    made = sorted(routes(all_routes), key=_place)
    schemas = _schemas(made)
    paths: dict[str, Json] = {}
    for route in made:
        paths.setdefault(route.path, {})[route.method] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": schemas.components(),
            "parameters": HEADER_PARAMETERS,
            "headers": HEADERS,
            "securitySchemes": {
                BEARER: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Needed where `service.auth_token_file` is configured.",
                }
            },
        },
    }


def _schemas(made: Iterable[Route]) -> Schemas:
    operations = [route.operation for route in made]
    bodies = [operation.body for operation in operations if operation.body is not None]
    return Schemas(
        read=[body.type for body in bodies if body.type is not None and not body.strict],
        strict=[body.type for body in bodies if body.strict],
        written=[ErrorBody, *(o.answer.type for o in operations if o.answer.type is not None)],
    )


def _place(route: Route) -> tuple[int, str, int]:
    return list(TAGS).index(_tag(route.path)), route.path, METHODS.index(route.method)


def _tag(path: str) -> str:
    return path.removeprefix(f"{API}/").partition("/")[0] if path.startswith(API) else "server"


def _operation(route: Route, schemas: Schemas) -> Json:
    summary, _, description = route.documentation.partition("\n\n")
    operation = route.operation
    identified = route.path.startswith(API)
    made: Json = {"tags": [_tag(route.path)], "operationId": route.name, "summary": summary.removesuffix(".")}
    if description:
        made["description"] = description
    made["parameters"] = [*_parameters(route, identified=identified)]
    if operation.body is not None:
        made["requestBody"] = request_body(operation.body, schemas)
    errors = errors_of(
        operation,
        closed=route.path not in PUBLIC_PATHS,
        identified=identified,
        changing=route.method != "get",
    )
    made["responses"] = {str(operation.answer.status): success(operation.answer, schemas)} | refusals(
        errors, schemas
    )
    made["security"] = [] if route.path in PUBLIC_PATHS else [{}, {BEARER: []}]
    return made


def _parameters(route: Route, *, identified: bool) -> Iterator[Json]:
    for name in route.parameters:
        yield {"name": name, "in": "path", "required": True, **PATH[name]}
    for parameter in route.operation.query:
        yield {
            "name": parameter.name,
            "in": "query",
            "description": parameter.text,
            "allowEmptyValue": parameter.may_be_empty,
            "schema": parameter.schema,
        }
    for name in HEADER_PARAMETERS if identified else ("Trace",):
        yield {"$ref": f"#/components/parameters/{name}"}
