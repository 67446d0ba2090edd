"""Progress that adapters report within a benchmark: how many samples of how many are done."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any, NamedTuple, cast

from evalhub_server.domain.plain_text import plain_text
from evalhub_server.domain.record import BenchmarkRecord
from evalhub_server.domain.timeline import moment_of
from evalhub_server.models.progress import BenchmarkPhase, PhaseStart, Progress

MAX_MESSAGE_CHARACTERS = 500
MAX_PHASES = 50
"""Phases of an attempt that are kept: an adapter that goes back and forth between two would fill the record."""
_EXACT = 2**53
"""Integers up to here are exact as doubles; JSON clients read larger ones differently."""


class _Reported(NamedTuple):
    done: int | float
    total: int | float
    message: str


def progress_fault(value: Any) -> str:
    """Why a reported ``progress`` is not usable; empty if it is, and for an absent one (None)."""
    if value is None:
        return ""
    reported = _read(value)
    return reported if isinstance(reported, str) else ""


def merged_progress(known: Progress | None, value: Any, now: datetime) -> Progress | None:
    """The progress after a report of ``value``: ``known`` itself if the value is absent, unusable or the same."""
    if value is None:
        return known
    reported = _read(value)
    if isinstance(reported, str):
        return known
    if known is not None and (known.done, known.total, known.message) == reported:
        return known
    return Progress(done=reported.done, total=reported.total, message=reported.message, reported_at=now)


def merged_phases(known: tuple[PhaseStart, ...], phase: str, now: datetime) -> tuple[PhaseStart, ...]:
    """The phases after a report of ``phase``: ``known`` itself if it is empty or the last one, or if there are too many."""
    if not phase or (known and known[-1].phase == phase) or len(known) >= MAX_PHASES:
        return known
    return (*known, PhaseStart(phase=phase, started_at=now))


def benchmark_phases(benchmark: BenchmarkRecord) -> tuple[BenchmarkPhase, ...]:
    """The phases of a benchmark with their durations."""
    if not benchmark.phases:
        return ()
    ended_at = moment_of(benchmark.completed_at) if benchmark.state.terminal else None
    ends = (*(each.started_at for each in benchmark.phases[1:]), ended_at)
    return tuple(
        BenchmarkPhase(
            phase=each.phase,
            started_at=each.started_at,
            # The end of the benchmark may be a time of the adapter's clock.
            duration_s=max((end - each.started_at).total_seconds(), 0.0) if end is not None else None,
        )
        for each, end in zip(benchmark.phases, ends, strict=False)
    )


def _read(value: Any) -> _Reported | str:
    """The members of a reported progress, or what is wrong with it."""
    if not isinstance(value, dict):
        return "it is not an object"
    members = {key.lower(): member for key, member in cast("dict[str, Any]", value).items()}
    done, total = _number(members.get("done")), _number(members.get("total"))
    if done is None or total is None:
        return f"its {'done' if done is None else 'total'} is not a number of at least 0"
    message = members.get("message") or ""
    if not isinstance(message, str):
        return "its message is not a text"
    return _Reported(done, total, plain_text(message)[:MAX_MESSAGE_CHARACTERS])


def _number(value: Any) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        return None
    return float(value) if value > _EXACT else value
