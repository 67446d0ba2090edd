"""The OpenAPI 3.1 document, generated from the routes of the application, as JSON and YAML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import yaml
from litestar.handlers import HTTPRouteHandler
from litestar.routes import BaseRoute, HTTPRoute
from msgspec import Struct

from evalhub_server import __version__
from evalhub_server.models.common import ErrorBody, Json
from evalhub_server.web.middleware import PUBLIC_PATHS
from evalhub_server.web.openapi.content import (
    error_responses,
    not_modified_response,
    request_body,
    success_response,
)
from evalhub_server.web.openapi.errors import errors_of
from evalhub_server.web.openapi.operation import Operation
from evalhub_server.web.openapi.parameters import (
    CONDITIONAL,
    HEADER_PARAMETERS,
    HEADERS,
    OPTIONAL_HEADERS,
    PATH,
)
from evalhub_server.web.openapi.schemas import Schemas, described, with_free_objects

API = "/api/v1/evaluations"
TITLE = "EvalHub Server"
ABOUT = """\
Runs evaluations of language models and stores their results. A client submits a *job* that names benchmarks of *providers*
(evaluation frameworks) or a *collection* of benchmarks; adapters run the benchmarks and report events.

* Request bodies are JSON, whatever their `Content-Type`. Unless an operation states otherwise, unknown fields are ignored, field
  names are case-insensitive, and null or an empty string is the same as an absent field.
* Filters of lists: `a,b` matches items with all of these values, `a|b` items with any of them; a repeated parameter is the same
  as a comma. Most parameters may be empty, which is the same as absent. Booleans are `true` and `false`; `1`, `t`, `T`, `TRUE`,
  `True` and their counterparts are accepted, too.
* Resources and lists have an `ETag`. With `If-None-Match` an unchanged one is answered with 304; with `If-Match` a change is
  refused with 412 after another change. Large bodies are compressed with gzip for clients that accept it.
* Errors have a stable `message_code`. A method that a path does not have gets 405 with `Allow`; `HEAD` is available wherever
  `GET` is. An unknown path gets 404 as plain text. A request that is not completed in time gets 408, one with too large a head
  431, both without a body.
"""
TAGS = {
    "jobs": "Submit evaluations, monitor them, read their results and logs.",
    "results": "Compare and export what jobs have measured.",
    "collections": "Sets of benchmarks that are run and scored together.",
    "providers": "Evaluation frameworks and their benchmarks.",
    "server": "Health, metrics and API description of the server.",
}
_TAG_OF = {"job-checks": "jobs"}
SERVER_URL = "/"
"""The server of the document, unless clients reach it under a path prefix."""
BEARER = "bearer"
METHODS = ("post", "get", "put", "patch", "delete")


class Route(NamedTuple):
    """One operation with its path and method."""

    path: str
    method: str
    parameters: tuple[str, ...]
    name: str
    documentation: str
    operation: Operation


def operations(routes: Iterable[BaseRoute]) -> Iterator[Route]:
    """The operations of the document. Raises :class:`LookupError` for a route without ``operation``."""
    for route in routes:
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


def make_document(routes: Iterable[BaseRoute]) -> Json:
    """The OpenAPI 3.1 document."""
    described_routes = sorted(operations(routes), key=_sort_key)
    schemas = _schemas(described_routes)
    paths: dict[str, Json] = {}
    for route in described_routes:
        paths.setdefault(route.path, {})[route.method] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": TITLE,
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "servers": [{"url": SERVER_URL}],
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": with_free_objects(paths),
        "components": {
            "schemas": with_free_objects(schemas.components()),
            "parameters": HEADER_PARAMETERS | CONDITIONAL | OPTIONAL_HEADERS,
            "headers": HEADERS,
            "securitySchemes": {
                BEARER: {
                    "type": "http",
                    "scheme": "bearer",
                    "description": "Required if `service.auth_token_file` is configured.",
                }
            },
        },
    }


def _schemas(routes: Iterable[Route]) -> Schemas:
    all_operations = [route.operation for route in routes]
    bodies = [operation.body for operation in all_operations if operation.body is not None]
    return Schemas(
        requests=[body.type for body in bodies if body.type is not None and not body.strict],
        strict_requests=[body.type for body in bodies if body.strict],
        responses=[ErrorBody, *(o.success.type for o in all_operations if o.success.type is not None)],
    )


def _sort_key(route: Route) -> tuple[int, str, int]:
    return list(TAGS).index(_tag(route.path)), route.path, METHODS.index(route.method)


def _tag(path: str) -> str:
    if not path.startswith(API):
        return "server"
    kind = path.removeprefix(f"{API}/").partition("/")[0]
    return kind if kind in TAGS else _TAG_OF.get(kind, "results")


def _operation(route: Route, schemas: Schemas) -> Json:
    summary, _, description = route.documentation.partition("\n\n")
    operation = route.operation
    is_resource = route.path.startswith(API)
    is_public = route.path in PUBLIC_PATHS
    json: Json = {"tags": [_tag(route.path)], "operationId": route.name, "summary": summary.removesuffix(".")}
    if description:
        json["description"] = description
    json["parameters"] = [*_parameters(route)]
    if operation.body is not None:
        json["requestBody"] = request_body(operation.body, schemas)
    success = {str(operation.success.status): success_response(operation.success, schemas)}
    if _condition(route) == "IfNoneMatch":
        success["304"] = not_modified_response()
    errors = errors_of(
        operation, authenticated=not is_public, resources=is_resource, unsafe=route.method != "get"
    )
    json["responses"] = success | error_responses(errors, schemas)
    json["security"] = [] if is_public else [{}, {BEARER: []}]
    return json


def _parameters(route: Route) -> Iterator[Json]:
    for name in route.parameters:
        yield {"name": name, "in": "path", "required": True, **PATH[name]}
    for parameter in route.operation.query:
        yield {
            "name": parameter.name,
            "in": "query",
            **({"required": True} if parameter.required else {}),
            "description": parameter.description,
            "allowEmptyValue": parameter.allow_empty,
            "schema": parameter.schema,
        }
    for name in HEADER_PARAMETERS if route.path.startswith(API) else ("Trace",):
        yield {"$ref": f"#/components/parameters/{name}"}
    for name in route.operation.headers:
        yield {"$ref": f"#/components/parameters/{name}"}
    if (condition := _condition(route)) is not None:
        yield {"$ref": f"#/components/parameters/{condition}"}


def _condition(route: Route) -> str | None:
    """The header parameter with which a request for a resource that has an entity tag is conditional."""
    if "ETag" not in route.operation.success.headers or route.method == "post":
        return None
    return "IfNoneMatch" if route.method == "get" else "IfMatch"


class Rendered(Struct, kw_only=True, frozen=True):
    """The document as text."""

    json: bytes
    yaml: bytes

    def under(self, prefix: str) -> Rendered:
        """The document of a server that clients reach under a path prefix."""
        if not prefix:
            return self
        url = msgspec.json.encode(prefix)  # valid YAML, too
        return Rendered(
            json=self.json.replace(b'"url": "/"', b'"url": ' + url, 1),
            yaml=self.yaml.replace(b"\nservers:\n- url: /\n", b"\nservers:\n- url: " + url + b"\n", 1),
        )


def render(routes: Iterable[BaseRoute]) -> Rendered:
    """Generate the document, which takes some hundred milliseconds, nearly all of it for the YAML."""
    compact = msgspec.json.encode(make_document(routes))
    # Decoded again, so that no two places share an object, which YAML would write as anchor and alias.
    plain = msgspec.json.decode(compact)
    text = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return Rendered(json=msgspec.json.format(compact, indent=2) + b"\n", yaml=text.encode())


class _Dumper(yaml.CSafeDumper if TYPE_CHECKING else getattr(yaml, "CSafeDumper", yaml.SafeDumper)):
    """Writes strings of several lines as block literals. libyaml, if PyYAML has it, takes a quarter of the time."""


def _represent_text(dumper: _Dumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)  # pyright: ignore[reportUnknownMemberType]


_Dumper.add_representer(str, _represent_text)
