"""Texts about the progress of benchmarks."""

from __future__ import annotations

from collections.abc import Hashable

from evalhub_server.cli.tables import duration, number
from evalhub_server.client.resources import BenchmarkStatus, Progress
from evalhub_server.domain.remaining_time import RemainingTime

STEPS = 10
"""Lines about the progress of one benchmark, where there is no table."""


def step_of(progress: Progress) -> int:
    """How many of :data:`STEPS` equal parts are done."""
    return int(progress["done"] * STEPS / progress["total"]) if progress["total"] else 0


def done_text(progress: Progress) -> str:
    """What is done of the total, such as ``12/40``."""
    return f"{number(progress['done'])}/{number(progress['total'])}"


def phase_text(status: BenchmarkStatus) -> str:
    """The state of a benchmark; with its phase while it runs."""
    state, phase = status["status"], status.get("phase", "")
    return f"{state} ({phase.replace('_', ' ')})" if state == "running" and phase else state


class ProgressCells:
    """The table cells of benchmarks that a display updates: it estimates the remaining times."""

    def __init__(self) -> None:
        self._times: dict[Hashable, RemainingTime] = {}

    def cells(self, key: Hashable, status: BenchmarkStatus, now_s: float) -> tuple[str, str, str]:
        """State, what is done, and the remaining time of the benchmark that ``key`` identifies. ``now_s`` is monotonic."""
        state, progress = phase_text(status), status.get("progress")
        if progress is None:
            return state, "", ""
        remaining = self._times.setdefault(key, RemainingTime())
        remaining.report(now_s, progress["done"])
        estimate_s = remaining.estimate_s(now_s, progress["total"]) if status["status"] == "running" else None
        return state, done_text(progress), duration(estimate_s)
