"""For storages: filters made simple, and the orders of lists as SQL."""

from __future__ import annotations

from evalhub_server.plugins.storage import Sort, Terms


def single(terms: Terms | None) -> Terms | None:
    """Make a filter on a field of which a record has one value one of "any" or "none", without repeats.

    ``None`` is no condition. "Any" of no values matches nothing.
    """
    if terms is None or terms.negated:
        return terms
    values = tuple(dict.fromkeys(terms.values))
    if terms.every:
        # All of nothing is no condition; all of several is impossible.
        return None if not values else Terms(values=values if len(values) == 1 else ())
    return Terms(values=values)


_TIES = "created_at DESC, id"
RESOURCE_ORDERS: dict[tuple[Sort, bool], str] = {
    ("created_at", False): "created_at, id",
    ("created_at", True): _TIES,
    ("updated_at", False): f"updated_at, {_TIES}",
    ("updated_at", True): f"updated_at DESC, {_TIES}",
    ("name", False): f"name, {_TIES}",
    ("name", True): f"name DESC, {_TIES}",
    # A zero is no place. Descending it comes last by itself.
    ("curation_order", False): f"curation_order = 0, curation_order, pinned_order = 0, pinned_order, {_TIES}",
    ("curation_order", True): f"curation_order DESC, pinned_order DESC, {_TIES}",
}
"""What ``ORDER BY`` says for a :class:`ResourceQuery`, by its ``sort`` and ``descending``.

The columns are those names; texts have to be collated by code point.
"""
