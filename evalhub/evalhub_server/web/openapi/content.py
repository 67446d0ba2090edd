"""What goes over the wire in an operation: its request body, its success and its refusals."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from evalhub_server.errors import ApiError
from evalhub_server.models.common import ErrorBody, Json
from evalhub_server.web.openapi.errors import ID
from evalhub_server.web.openapi.operation import JSON, Answer, Body, Link
from evalhub_server.web.openapi.parameters import HEADERS
from evalhub_server.web.openapi.schemas import Schemas, Way, or_null
from evalhub_server.web.responses import error_body


def request_body(body: Body, schemas: Schemas) -> Json:
    if body.schema is not None:
        schema = body.schema(schemas)
    else:
        schema = schemas.ref(body.type, Way.STRICT if body.strict else Way.READ)
    if not body.required:
        schema = or_null(schema)
    examples = {name: {"value": value} for name, value in body.examples.items()}
    return {"required": body.required, "content": {JSON: {"schema": schema, "examples": examples}}}


def success(answer: Answer, schemas: Schemas) -> Json:
    made: Json = {"description": answer.text, "headers": _headers(*answer.headers)}
    schema = schemas.ref(answer.type, Way.WRITTEN) if answer.type is not None else answer.schema
    if schema is not None:
        content: Json = {"schema": schema}
        if answer.example is not None:
            content["example"] = msgspec.to_builtins(answer.example(), enc_hook=str)
        made["content"] = dict.fromkeys(answer.media_types, content)
    if answer.links:
        made["links"] = {link.operation: _link(link) for link in answer.links}
    return made


def _link(link: Link) -> Json:
    made: Json = {"operationId": link.operation, "parameters": dict(link.parameters)}
    return made if link.body is None else made | {"requestBody": link.body}


def _headers(*names: str) -> Json:
    return {
        name: {"$ref": f"#/components/headers/{name}"}
        for name in ("X-Global-Transaction-Id", "X-Content-Type-Options", *names)
    }


def refusals(errors: Sequence[ApiError], schemas: Schemas) -> Json:
    by_status: dict[int, list[ApiError]] = {}
    for error in errors:
        by_status.setdefault(error.status, []).append(error)
    return {str(status): _refusal(by_status[status], schemas) for status in sorted(by_status)}


def _refusal(errors: Sequence[ApiError], schemas: Schemas) -> Json:
    codes = list(dict.fromkeys(error.code for error in errors))
    examples: Json = {}
    for error in errors:
        same = sum(name.partition(" ")[0] == error.code for name in examples)
        examples[f"{error.code} {same + 1}" if same else error.code] = {
            "value": msgspec.json.decode(error_body(error, ID))
        }
    code: Json = {"properties": {"message_code": {"enum": codes}}}
    content: Json = {"schema": {"allOf": [schemas.ref(ErrorBody, Way.WRITTEN), code]}, "examples": examples}
    return {
        "description": ", ".join(f"`{code}`" for code in codes),
        "headers": _headers(*(name for name in HEADERS if any(name in error.headers for error in errors))),
        "content": {JSON: content},
    }
