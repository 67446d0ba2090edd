"""The contract of an observer: receives the committed changes of jobs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Awaitable

from evalhub_server.domain.job_changes import JobChanged


class Observer(ABC):
    """Receives every committed change of a job: creation, events, exits, cancellation, export attempts, deletion.

    An observer receives the changes of one job in the order of their commits, one after the other, through a queue of its own
    for 10000 changes. Changes that another server committed shortly one after the other may come as one. Changes are not
    delivered while the server is down, while another server leads, or while the queue is full; the last are counted in the metric
    ``evalhub_observer_missed_changes_total``. For guaranteed delivery write an :class:`Exporter`.
    """

    name: str
    """Its name in the configuration, in logs and in metrics."""

    @abstractmethod
    def job_changed(self, change: JobChanged) -> Awaitable[None] | None:
        """Observe a change. ``change`` holds the frozen records before and after. May be a coroutine function.

        Called: in the background, once after the commit of each change.
        Concurrency: on the event loop, one call at a time.
        Repeats: never.
        Cancellation: a coroutine function after the time limit, and 0.3 seconds after the server began to close its observers.
        Failure: any exception is logged and counted. It affects no job and no other observer.
        Time limit: 10 seconds for a coroutine function. A plain function should return within a millisecond; longer than
            0.2 seconds is named in the log.
        """

    async def check(self) -> None:
        """Check the settings. A target that is down is no error: it may be up when needed. The default finds nothing.

        Called: once at start, before the first change.
        Concurrency: nothing else of the observer runs.
        Repeats: each start of a server.
        Cancellation: never.
        Failure: the server exits with status 1; after a StartupError with its text alone. :meth:`close` is called.
        Time limit: none; all requests but those for health wait for it.

        Raises:
            StartupError: the settings cannot work; the text names the remedy.
        """
        return

    async def close(self) -> None:
        """Release connections.

        Called: once at the end of the server, after the last change, and after a :meth:`check` that failed.
        Concurrency: nothing else of the observer runs.
        Repeats: never.
        Cancellation: never.
        Failure: the other parts are closed nevertheless; the server exits with status 1.
        Time limit: none; a service manager may kill the server.
        """
        return
