"""The contract of an observer: receives the committed changes of jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable

from evalhub_server.domain.job_changes import JobChanged


class Observer(ABC):
    """Receives every committed change of a job: creation, events, exits, cancellation, export attempts, deletion.

    An observer receives the changes of one job in the order of their commits, one after the other, through a queue of its own. Changes are not
    delivered while the server is down, nor while the queue is full: those are counted in the metric
    ``evalhub_observer_missed_changes_total``. For guaranteed delivery write an :class:`Exporter`.
    """

    name: str
    """Its name in the configuration, in logs and in metrics."""

    @abstractmethod
    def job_changed(self, change: JobChanged) -> Awaitable[None] | None:
        """Observe a change. ``change`` holds the frozen records before and after.

        A plain function runs on the server's event loop and should return within a millisecond; a coroutine function is
        cancelled after 10 seconds. An exception is logged; it affects no job and no other observer.
        """

    async def check(self) -> None:
        """Check the settings. Called once at start, before the first change.

        Raises:
            StartupError: the settings cannot work; the text names the remedy.
        """
        return

    async def close(self) -> None:
        """Release connections. Called after the last change."""
        return
