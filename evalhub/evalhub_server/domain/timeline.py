"""Order of the times of a benchmark, which come from the clocks of server and adapter, and may be set back."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(moment: datetime) -> str:
    """A moment in UTC in RFC 3339."""
    return moment.isoformat().replace("+00:00", "Z")


def later_of(time: str, other: str) -> str:
    """The later of two times in RFC 3339; ``time`` if either is empty or unreadable."""
    first, second = _moment(time), _moment(other)
    return other if first is not None and second is not None and second > first else time


def earlier_of(time: str, other: str) -> str:
    """The earlier of two times in RFC 3339; ``time`` if either is empty or unreadable."""
    first, second = _moment(time), _moment(other)
    return other if first is not None and second is not None and second < first else time


def _moment(time: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(time.upper())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
