"""How long a workload may be silent, may run, and may stay after its result."""

from __future__ import annotations

from typing import NamedTuple

from evalhub_server.settings import SupervisorSettings


class Deadline(NamedTuple):
    """``kind`` is start, run or linger; ``moment`` is on the monotonic clock."""

    kind: str
    limit_s: float
    moment: float


def next_deadline(
    settings: SupervisorSettings, started: float, reported_at: float | None, *, silent: bool
) -> Deadline | None:
    """The next one, if there is any, for a workload that has ``started`` then, on the monotonic clock.

    ``reported_at`` is when its result came; ``silent``: nothing has come yet.
    """
    if reported_at is not None:
        kinds = [("linger", settings.linger, reported_at)]
    else:
        kinds = [("run", settings.run_timeout, started)]
        if silent:
            kinds.append(("start", settings.start_timeout, started))
    deadlines = [Deadline(kind, limit_s, since + limit_s) for kind, limit_s, since in kinds if limit_s]
    return min(deadlines, key=lambda deadline: deadline.moment, default=None)
