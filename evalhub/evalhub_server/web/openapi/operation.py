"""What a route says about itself, beside its docstring. Only data: nothing is worked out before somebody asks."""

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
    """A query parameter. ``schema`` is JSON Schema. ``may_be_empty``: ``name=`` is as good as nothing."""

    name: str
    text: str
    schema: Json
    may_be_empty: bool = True


class Body(Struct, kw_only=True, frozen=True):
    """The JSON that a request carries: a model, or a ``schema`` made from the models when it is asked for.

    ``strict``: unknown fields are refused. ``examples`` are whole bodies by a short name.
    """

    type: Any = None
    schema: Callable[[Schemas], Json] | None = None
    strict: bool = False
    required: bool = True
    examples: Mapping[str, Any]


class Link(Struct, kw_only=True, frozen=True):
    """Another operation that can be called with what this answer says. Values are OpenAPI's runtime expressions."""

    operation: str
    parameters: Mapping[str, Any]
    body: Any = None


class Answer(Struct, kw_only=True, frozen=True):
    """The success of an operation; ``type`` is a model, or ``schema`` describes what is no JSON.

    ``headers`` are names of :data:`~evalhub_server.web.openapi.parameters.HEADERS`.
    """

    status: int = 200
    text: str
    type: Any = None
    media_types: tuple[str, ...] = (JSON,)
    schema: Json | None = None
    headers: tuple[str, ...] = ()
    links: tuple[Link, ...] = ()
    example: Callable[[], Any] | None = None


class Operation(Struct, kw_only=True, frozen=True):
    """``errors`` are examples of the refusals that are this operation's own, made by :mod:`evalhub_server.domain.problems`."""

    query: tuple[Parameter, ...] = ()
    body: Body | None = None
    answer: Answer
    errors: tuple[ApiError, ...] = ()

    def __deepcopy__(self, _memo: Any) -> Operation:
        """The same object: Litestar copies the handlers of a router, and this never changes."""
        return self


def names(query: tuple[Parameter, ...]) -> tuple[str, ...]:
    """The parameters that a list allows, in the order of its complaint about others."""
    return tuple(parameter.name for parameter in query)


def links(parameter: str, expression: str, *operations: str) -> tuple[Link, ...]:
    """What can be done with the resource whose id stands at ``expression``."""
    return tuple(Link(operation=operation, parameters={parameter: expression}) for operation in operations)
