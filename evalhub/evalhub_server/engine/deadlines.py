"""Deadlines of a workload, on the monotonic clock."""

from __future__ import annotations

import time
from datetime import datetime
from typing import NamedTuple

from evalhub_server.engine.clock import Clock
from evalhub_server.engine.runtime_retry import RetryingRuntime
from evalhub_server.plugins.runtime import Handle
from evalhub_server.settings import SupervisorSettings


class Deadline(NamedTuple):
    """``kind`` is start, run or linger (after the report); ``moment`` is in seconds on the monotonic clock."""

    kind: str
    limit_s: float
    moment: float


def next_deadline(
    settings: SupervisorSettings, started: float, reported_at: float | None, *, silent: bool
) -> Deadline | None:
    """The next deadline of a workload, if any. Times are on the monotonic clock; ``silent``: it has not reported."""
    if reported_at is not None:
        kinds = [("linger", settings.linger, reported_at)]
    else:
        kinds = [("run", settings.run_timeout, started)]
        if silent:
            kinds.append(("start", settings.start_timeout, started))
    deadlines = [Deadline(kind, limit_s, since + limit_s) for kind, limit_s, since in kinds if limit_s]
    return min(deadlines, key=lambda deadline: deadline.moment, default=None)


async def start_moment(
    runtime: RetryingRuntime, handle: Handle, launched_at: datetime | None, clock: Clock
) -> float:
    """The start of a workload that an earlier server launched, on the monotonic clock.

    The host's clock may have been set since the launch, so ``launched_at`` counts only if the runtime knows no age.
    """
    age_s = await runtime.age_s(handle)
    if age_s is None:
        age_s = (clock() - launched_at).total_seconds() if launched_at else 0.0
    return time.monotonic() - max(age_s, 0.0)
