"""Rates and remaining times of running benchmarks, from the progress that passes through the server.

They are kept in memory: after a restart of the server a benchmark has an estimate after two more reports.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

from msgspec import Struct

from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.remaining_time import RemainingTime
from evalhub_server.models.common import State

MAX_BENCHMARKS = 4096
MIN_DONE = 20
MIN_SHARE = 0.05
"""There is no estimate before this much is done: the first samples say little about the rest."""


class Pace(Struct, frozen=True):
    """How fast a benchmark is: units per second, and seconds until its end. None: not known yet."""

    rate_per_s: float | None = None
    remaining_s: float | None = None


UNKNOWN = Pace()


class ProgressRates:
    """Listens to changes of jobs. ``clock`` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._times: OrderedDict[tuple[str, int], RemainingTime] = OrderedDict()

    def changed(self, change: JobChanged) -> None:
        """Take a committed change."""
        job = change.after or change.before
        if job is None:
            return
        if change.after is None or job.state.terminal:
            for benchmark in job.benchmarks if self._times else ():
                self._times.pop((job.id, benchmark.index), None)
            return
        for before, after in change.benchmarks:
            key = job.id, after.index
            if after.state is not State.RUNNING or after.attempt != before.attempt:
                self._times.pop(key, None)
            elif after.progress is not None and after.progress is not before.progress:
                self._times.setdefault(key, RemainingTime()).report(self._clock(), after.progress.done)
                self._times.move_to_end(key)
                if len(self._times) > MAX_BENCHMARKS:
                    self._times.popitem(last=False)

    def pace(self, job: JobRecord, index: int) -> Pace:
        """The pace of a running benchmark."""
        progress, times = job.benchmarks[index].progress, self._times.get((job.id, index))
        if progress is None or times is None:
            return UNKNOWN
        enough = progress.done >= MIN_DONE or progress.done >= MIN_SHARE * progress.total > 0
        return Pace(times.rate_per_s, times.estimate_s(self._clock(), progress.total) if enough else None)
