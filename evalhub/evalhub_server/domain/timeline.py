"""Order of the times of a benchmark, which come from the clocks of server and adapter, and may be set back."""

from __future__ import annotations

from datetime import UTC, datetime


def timestamp(moment: datetime) -> str:
    """A moment in UTC in RFC 3339."""
    return moment.isoformat().replace("+00:00", "Z")


def moment_of(time: str) -> datetime | None:
    """A time in RFC 3339, in either case; None if it is empty or unreadable. Without a zone it is in UTC."""
    try:
        moment = datetime.fromisoformat(time.upper())
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def later_of(time: str, other: str) -> str:
    """The later of two times in RFC 3339; ``time`` if either is empty or unreadable."""
    first, second = moment_of(time), moment_of(other)
    return other if first is not None and second is not None and second > first else time


def earlier_of(time: str, other: str) -> str:
    """The earlier of two times in RFC 3339; ``time`` if either is empty or unreadable."""
    first, second = moment_of(time), moment_of(other)
    return other if first is not None and second is not None and second < first else time
