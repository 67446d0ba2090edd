"""The values of a facet, as lists show them."""

from __future__ import annotations

from collections.abc import Mapping

from evalhub_server.models.sample import FacetValue

MAX_FACET_VALUES = 100


def facet_values(counted: Mapping[str, int]) -> tuple[FacetValue, ...]:
    """The most frequent values, at most :data:`MAX_FACET_VALUES`; of equally frequent ones in their order."""
    most = sorted(counted.items(), key=lambda each: (-each[1], each[0]))[:MAX_FACET_VALUES]
    return tuple(FacetValue(value=value, count=count) for value, count in most)
