"""How far a benchmark is: its progress, and the phases of its adapter."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct


class Progress(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """How far a benchmark is, as its adapter last reported: ``done`` of ``total``, in units of the adapter's choice.

    ``reported_at`` is when the server received this value first; a repeated report does not change it.
    """

    done: int | float
    total: int | float
    message: str = ""
    reported_at: datetime


class PhaseStart(Struct, kw_only=True, frozen=True):
    """A phase, and when the server received the first report of it."""

    phase: str
    started_at: datetime


class BenchmarkPhase(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A phase of a benchmark. ``started_at`` is when the server received its first report.

    ``duration_s`` is how long it took, in seconds: until the next phase, or until the end of the benchmark. The phase of a running
    benchmark has none.
    """

    phase: str
    started_at: datetime
    duration_s: float | None = None
