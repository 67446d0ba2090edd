"""Amounts as Kubernetes writes them."""

from __future__ import annotations

import re
from decimal import Decimal

# The grammar of resource.Quantity without a minus: a number with a decimal exponent, or with a decimal or binary suffix.
_QUANTITY = re.compile(r"(\+?(?:\d+\.?\d*|\.\d+))(?:([numkMGTPE]|[KMGTPE]i)|[eE]([+-]?\d{1,3}))?")
_FACTORS = {
    **{unit: Decimal(1000) ** power for power, unit in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)},
    **{unit: Decimal(1024) ** power for power, unit in enumerate(("Ki", "Mi", "Gi", "Ti", "Pi", "Ei"), 1)},
}  # fmt: skip


def quantity(text: str) -> Decimal:
    """A quantity of 0 or more as a number. Raises :class:`ValueError` that says what to write."""
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise ValueError(f"'{text}' is not a Kubernetes quantity; write for example 500m, 2 or 4Gi.")
    number, suffix, exponent = match.groups()
    return Decimal(number) * _FACTORS[suffix or ""] * Decimal(10) ** int(exponent or 0)
