"""Menus of filters: the values of a facet, with the URLs that select them."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from evalhub_server.domain.sample_query import METADATA
from evalhub_server.models.job_page import JobFacet
from evalhub_server.models.sample import Facet
from evalhub_server.viewer.page_query import COMMON, PageQuery, with_query
from evalhub_server.viewer.text import visible

MAX_VALUES = 30
MAX_KEY_CHARACTERS = 40
"""Longest name of a key of metadata that is shown."""


class FacetLine(Struct, kw_only=True, frozen=True):
    """The values of a parameter with their numbers of rows and the URLs that select them; an empty one for a value that no URL selects."""

    name: str
    distinct: int
    values: Sequence[tuple[str, int, str]]


def facet_line(query: PageQuery, name: str, facet: JobFacet | Facet) -> FacetLine:
    """The values of a facet, with the URLs of the page that they select."""
    shown = facet.values[:MAX_VALUES]
    urls = query.urls_with(name, (each.value for each in shown))
    return FacetLine(
        name=name,
        distinct=facet.distinct,
        values=[
            (each.value, each.count, url if each.value else "") for each, url in zip(shown, urls, strict=True)
        ],
    )


def metadata_line(query: PageQuery, facet: Facet) -> FacetLine:
    """The values of a key of metadata; one replaces the chosen one of the same key."""
    key = facet.name.removeprefix(METADATA)
    given = {
        name: texts for name, texts in query.given_values.items() if name not in (*COMMON, "after", "offset")
    }
    others = [text for text in query.texts("metadata") if not text.startswith(f"{key}:")]
    return FacetLine(
        name=visible(key, MAX_KEY_CHARACTERS),
        distinct=facet.distinct,
        values=[
            (
                each.value,
                each.count,
                with_query(query.path, {**given, "metadata": [*others, f"{key}:{each.value}"]}),
            )
            for each in facet.values[:MAX_VALUES]
        ],
    )
