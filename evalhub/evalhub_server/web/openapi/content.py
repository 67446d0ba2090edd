"""OpenAPI objects for the request body and the responses of an operation."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from evalhub_server.errors import ApiError
from evalhub_server.models.common import ErrorBody, Json
from evalhub_server.web.openapi.errors import ID
from evalhub_server.web.openapi.operation import JSON, Link, RequestBody, Success
from evalhub_server.web.openapi.parameters import HEADERS
from evalhub_server.web.openapi.schemas import Direction, Schemas, nullable
from evalhub_server.web.responses import error_body


def request_body(body: RequestBody, schemas: Schemas) -> Json:
    if body.media_type != JSON:
        schema: Json = {"type": "string"}
    elif body.schema is not None:
        schema = body.schema(schemas)
    else:
        schema = schemas.ref(body.type, Direction.STRICT_REQUEST if body.strict else Direction.REQUEST)
    if not body.required:
        schema = nullable(schema)
    examples = {name: {"value": value} for name, value in body.examples.items()}
    return {"required": body.required, "content": {body.media_type: {"schema": schema, "examples": examples}}}


def success_response(success: Success, schemas: Schemas) -> Json:
    response: Json = {"description": success.description, "headers": _headers(*success.headers)}
    schema = schemas.ref(success.type, Direction.RESPONSE) if success.type is not None else success.schema
    if schema is not None:
        content: Json = {"schema": schema}
        if success.example is not None:
            content["example"] = msgspec.to_builtins(success.example(), enc_hook=str)
        response["content"] = dict.fromkeys(success.media_types, content)
    if success.file_type:
        response["content"][success.file_type] = {"schema": {"type": "string"}}
    if success.links:
        response["links"] = {link.operation: _link(link) for link in success.links}
    return response


def not_modified_response() -> Json:
    return {"description": "Not modified: the client has this version.", "headers": _headers("ETag")}


def _link(link: Link) -> Json:
    object_: Json = {"operationId": link.operation, "parameters": dict(link.parameters)}
    return object_ if link.body is None else object_ | {"requestBody": link.body}


def _headers(*names: str) -> Json:
    return {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in ("X-Global-Transaction-Id", "X-Content-Type-Options", *names)
    }


def error_responses(errors: Sequence[ApiError], schemas: Schemas) -> Json:
    by_status: dict[int, list[ApiError]] = {}
    for error in errors:
        by_status.setdefault(error.status, []).append(error)
    return {str(status): _error_response(by_status[status], schemas) for status in sorted(by_status)}


def _error_response(errors: Sequence[ApiError], schemas: Schemas) -> Json:
    codes = list(dict.fromkeys(error.code for error in errors))
    examples: Json = {}
    for error in errors:
        same = sum(name.partition(" ")[0] == error.code for name in examples)
        examples[f"{error.code} {same + 1}" if same else error.code] = {
            "value": msgspec.json.decode(error_body(error, ID))
        }
    # One type for all errors: generators ignore what stands beside a reference.
    code: Json = {"properties": {"message_code": {"enum": codes}}}
    content: Json = {
        "schema": schemas.ref(ErrorBody, Direction.RESPONSE) | code,
        "examples": examples,
    }
    return {
        "description": ", ".join(f"`{code}`" for code in codes),
        "headers": _headers(*(name for name in HEADERS if any(name in error.headers for error in errors))),
        "content": {JSON: content},
    }
