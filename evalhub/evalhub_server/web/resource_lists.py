"""Queries and pages of the lists of providers and of collections."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import msgspec

from evalhub_server.domain import problems
from evalhub_server.domain.resource import Kind
from evalhub_server.engine.identity import Identity
from evalhub_server.models.common import Page
from evalhub_server.plugins.storage import ResourceQuery, Sort
from evalhub_server.web.query import Query
from evalhub_server.web.responses import encode

SCOPES = ("system", "tenant")
SORTS: tuple[Sort, ...] = tuple(sort for sort in get_args(Sort) if sort != "catalog")
"""Values of ``sort_by``; without it, a list has the order of the catalogue."""


def resource_query(
    parameters: Query, kind: Kind, identity: Identity, *, filters: Sequence[str], labels: Sequence[str]
) -> ResourceQuery:
    """Parse the parameters of a list. ``filters`` are its parameters, ``labels`` those that match items of a list."""
    limit, offset = parameters.page()
    scope = _scope(parameters)
    parameters.allow_only(filters)
    sort, descending = _sort(parameters.text("sort_by"))
    return ResourceQuery(
        kind=kind,
        tenant=identity.scope,
        limit=limit,
        offset=offset,
        system=None if not scope else scope == "system",
        name=parameters.terms("name"),
        owner=parameters.terms("owner", negatable=True),
        category=parameters.terms("category"),
        labels={name: terms for name in labels if (terms := parameters.terms(name)) is not None},
        sort=sort,
        descending=descending,
    )


def encode_page(parameters: Query, query: ResourceQuery, total: int, items: list[msgspec.Raw]) -> bytes:
    """The JSON of one page of resources; ``total`` is the number on all pages."""
    first, next_ = parameters.links(query.limit, query.offset, total)
    return encode(Page(first=first, next=next_, limit=query.limit, total_count=total, items=items))


def _scope(parameters: Query) -> Literal["", "system", "tenant"]:
    """The scope, or an empty string. Raises :class:`ApiError` for an unknown one, and together with ``owner``."""
    scope = parameters.text("scope")
    if scope and scope not in SCOPES:
        raise problems.query_parameter_value_invalid("scope", "|".join(SCOPES))
    if scope and parameters.text("owner"):
        raise problems.query_parameter_mismatch(("owner", "scope"))
    return scope  # pyright: ignore[reportReturnType]  just checked


def _sort(text: str) -> tuple[Sort, bool]:
    """The sort field and whether the order is descending. The default is that of the catalogue."""
    if not text:
        return "catalog", True
    name = text.removeprefix("-")
    if name not in SORTS:
        raise problems.query_parameter_value_invalid("sort_by", "|".join(f"{s}|-{s}" for s in SORTS))
    return name, name != text
