"""The time, passed in so that rules can be tested at any hour."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    """Now, UTC, microseconds."""
    return datetime.now(UTC)
