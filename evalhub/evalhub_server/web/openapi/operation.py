"""OpenAPI metadata of a route, beside its docstring. Plain data: the document is generated on the first request for it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from evalhub_server.errors import ApiError
from evalhub_server.models.common import Json

if TYPE_CHECKING:
    from evalhub_server.web.openapi.schemas import Schemas

JSON = "application/json"


class Parameter(Struct, kw_only=True, frozen=True):
    """A query parameter. ``schema`` is JSON Schema. ``allow_empty``: ``name=`` is the same as an absent parameter.

    A ``required`` one is neither absent nor empty.
    """

    name: str
    description: str
    schema: Json
    allow_empty: bool = True
    required: bool = False


class RequestBody(Struct, kw_only=True, frozen=True):
    """A JSON request body: a model, or a function that derives its ``schema`` from the models.

    ``strict``: unknown fields are refused. ``examples`` maps a short name to a whole body. With another ``media_type``
    the body is any bytes, and the handler's own errors are all that it causes.
    """

    media_type: str = JSON

    type: Any = None
    schema: Callable[[Schemas], Json] | None = None
    strict: bool = False
    required: bool = True
    examples: Mapping[str, Any]


class Link(Struct, kw_only=True, frozen=True):
    """A link from a response to another operation. Parameters are OpenAPI runtime expressions."""

    operation: str
    parameters: Mapping[str, Any]
    body: Any = None


class Success(Struct, kw_only=True, frozen=True):
    """The successful response of an operation. ``type`` is a model; ``schema`` describes a body of another media type.

    ``file_type`` is the media type of a file that the operation may answer with instead. ``headers`` are names of :data:`~evalhub_server.web.openapi.parameters.HEADERS`.
    """

    status: int = 200
    description: str
    type: Any = None
    media_types: tuple[str, ...] = (JSON,)
    file_type: str = ""
    schema: Json | None = None
    headers: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    example: Callable[[], Any] | None = None


class Operation(Struct, kw_only=True, frozen=True):
    """The metadata of one route.

    ``errors`` are examples of its own error responses; see :mod:`evalhub_server.domain.problems`. ``headers`` are names of
    :data:`~evalhub_server.web.openapi.parameters.OPTIONAL_HEADERS` that the route reads.
    """

    query: tuple[Parameter, ...] = ()
    body: RequestBody | None = None
    success: Success
    errors: tuple[ApiError, ...] = ()
    headers: tuple[str, ...] = ()

    def __deepcopy__(self, _memo: Any) -> Operation:
        """The same object: Litestar copies the handlers of a router, and this never changes."""
        return self


def names(query: tuple[Parameter, ...]) -> tuple[str, ...]:
    """The names of the parameters, in the order in which an error message lists them."""
    return tuple(parameter.name for parameter in query)


def links(parameter: str, expression: str, *operations: str) -> tuple[Link, ...]:
    """Links to operations on the resource whose id is at ``expression``."""
    return tuple(Link(operation=operation, parameters={parameter: expression}) for operation in operations)
