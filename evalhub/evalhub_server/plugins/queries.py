"""Helpers for storages: simplified filters, and the sort orders of lists as SQL."""

from __future__ import annotations

import sys

from evalhub_server.models.provider import SYSTEM_OWNER
from evalhub_server.plugins.storage import Sort, Terms


def single(terms: Terms | None) -> Terms | None:
    """Simplify a filter on a field with one value per record to "any of" or "none of", without duplicates.

    None is no condition. "Any of" without values matches nothing.
    """
    if terms is None or terms.negated:
        return terms
    values = tuple(dict.fromkeys(terms.values))
    if terms.every:
        # "All of" without values is no condition; with several values it cannot be met.
        return None if not values else Terms(values=values if len(values) == 1 else ())
    return Terms(values=values)


def prefix_end(prefix: str) -> str | None:
    """The first text after all those that begin with ``prefix``, by code point; None if there is none."""
    for length in range(len(prefix), 0, -1):
        last = ord(prefix[length - 1])
        if last < sys.maxunicode:
            following = 0xE000 if last == 0xD7FF else last + 1  # the code points between are no characters
            return prefix[: length - 1] + chr(following)
    return None


_TIES = "created_at DESC, id"
_CURATED = f"curation_order = 0, curation_order, pinned_order = 0, pinned_order, {_TIES}"
_CATALOG = f"owner <> '{SYSTEM_OWNER}', {_CURATED}"
RESOURCE_ORDERS: dict[tuple[Sort, bool], str] = {
    ("created_at", False): "created_at, id",
    ("created_at", True): _TIES,
    ("updated_at", False): f"updated_at, {_TIES}",
    ("updated_at", True): f"updated_at DESC, {_TIES}",
    ("name", False): f"name, {_TIES}",
    ("name", True): f"name DESC, {_TIES}",
    # Zero means unranked and comes last. Descending order does that by itself.
    ("curation_order", False): _CURATED,
    ("curation_order", True): f"curation_order DESC, pinned_order DESC, {_TIES}",
    ("catalog", False): _CATALOG,
    ("catalog", True): _CATALOG,
}
"""``ORDER BY`` clauses for a :class:`ResourceQuery`, by its ``sort`` and ``descending``.

Columns have the names of the fields; texts must be collated by code point.
"""
