"""Scores with intervals for lists of jobs: those that are known without opening files, and a task that computes the others."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import structlog

from evalhub_server.domain.lineage_view import LineageView
from evalhub_server.domain.statistics.gate_results import ScoredBenchmark
from evalhub_server.errors import ApiError, SampleStoreUnavailable

MAX_WAITING = 500
"""Views that wait to be computed; of more, the oldest are left out until a list asks for them again."""

Scores = tuple[ScoredBenchmark, ...]

log = structlog.get_logger()


class KnownScores:
    """A list gets what is known at once. The rest is computed in the background, one after the other, the last list first.

    ``find`` returns the scores of a view if no file has to be read for them, ``compute`` reads the files. ``computed`` counts
    what has become known, so that lists notice it.
    """

    def __init__(
        self,
        find: Callable[[LineageView], Scores | None],
        compute: Callable[[LineageView], Awaitable[Scores]],
    ) -> None:
        self._find = find
        self._compute = compute
        self._waiting: OrderedDict[str, LineageView] = OrderedDict()
        self._unreadable: OrderedDict[str, None] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self.computed = 0

    def get(self, key: str, view: LineageView) -> Scores | None:
        """The scores of a view, which ``key`` identifies with its state; None if they are not known yet."""
        known = self._find(view)
        if known is None and key not in self._unreadable:
            self._waiting[key] = view
            self._waiting.move_to_end(key)
            if len(self._waiting) > MAX_WAITING:
                self._waiting.popitem(last=False)
            if self._task is None or self._task.done():
                self._task = asyncio.create_task(self._run(), name="known-scores")
        return known

    def failed(self, key: str) -> bool:
        """Whether the scores could not be computed; they are not tried again until the job changes."""
        return key in self._unreadable

    async def _run(self) -> None:
        while self._waiting:
            key, view = self._waiting.popitem()
            try:
                await self._compute(view)
            except (ApiError, SampleStoreUnavailable) as error:
                log.debug("Scores for a list not computed", job=key, error=str(error))
                self._note_unreadable(key)
            except Exception as error:
                log.error("Scores for a list not computed", job=key, exc_info=error)
                self._note_unreadable(key)
            self.computed += 1

    def _note_unreadable(self, key: str) -> None:
        self._unreadable[key] = None
        if len(self._unreadable) > MAX_WAITING:
            self._unreadable.popitem(last=False)

    async def close(self) -> None:
        """Stop the task."""
        self._waiting.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
