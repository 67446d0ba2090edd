"""What the lists of providers and of collections have in common."""

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
from evalhub_server.web.responses import RawResponse, encode, json_response

SCOPES = ("system", "tenant")
SORTS: tuple[Sort, ...] = get_args(Sort)


def resource_query(
    query: Query, kind: Kind, identity: Identity, *, filters: Sequence[str], labels: Sequence[str]
) -> ResourceQuery:
    """Read the parameters of a list; ``filters`` are all that it has, ``labels`` those that ask for membership."""
    limit, offset = query.page()
    scope = _scope(query)
    query.allow_only(filters)
    sort, descending = _sort(query.text("sort_by"))
    return ResourceQuery(
        kind=kind,
        tenant=identity.scope,
        limit=limit,
        offset=offset,
        system=None if not scope else scope == "system",
        name=query.terms("name"),
        owner=query.terms("owner", negatable=True),
        category=query.terms("category"),
        labels={name: terms for name in labels if (terms := query.terms(name)) is not None},
        sort=sort,
        descending=descending,
    )


def page_response(query: Query, asked: ResourceQuery, total: int, items: list[msgspec.Raw]) -> RawResponse:
    first, following = query.links(asked.limit, asked.offset, total)
    return json_response(
        encode(Page(first=first, next=following, limit=asked.limit, total_count=total, items=items))
    )


def _scope(query: Query) -> Literal["", "system", "tenant"]:
    scope = query.text("scope")
    if scope and scope not in SCOPES:
        raise problems.query_parameter_value_invalid("scope", "|".join(SCOPES))
    if scope and query.text("owner"):
        raise problems.query_parameter_mismatch(("owner", "scope"))
    return scope  # pyright: ignore[reportReturnType]  just checked


def _sort(text: str) -> tuple[Sort, bool]:
    """Newest first, unless ``sort_by`` names a field: ascending, or with a leading ``-`` descending."""
    if not text:
        return "created_at", True
    name = text.removeprefix("-")
    if name not in SORTS:
        raise problems.query_parameter_value_invalid("sort_by", "|".join(f"{s}|-{s}" for s in SORTS))
    return name, name != text
