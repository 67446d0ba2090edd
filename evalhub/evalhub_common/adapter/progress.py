"""Progress of a framework that keeps its own threads and event loops: reported from one more thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from types import TracebackType

from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import AdapterError, EventRefused, JobClosed
from evalhub_common.adapter.events import PROGRESS_INTERVAL_S, EventSender


class ProgressReporter:
    """Sends the newest :meth:`update` once per interval, from ``__enter__`` to ``__exit__``.

    An unavailable server does not delay the framework. If the server refuses an event (the job was cancelled, say), the process
    exits: a framework cannot be interrupted everywhere. Until ``__exit__`` returns, nothing else may use the sender.
    """

    def __init__(self, events: EventSender, interval_s: float = PROGRESS_INTERVAL_S) -> None:
        self._events = events
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._state: tuple[int, int, Mapping[str, float]] | None = None
        self._thread = threading.Thread(target=self._report, name="progress", daemon=True)

    def __enter__(self) -> ProgressReporter:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        if kind is None:
            self._send()

    def update(self, done: int, total: int, metrics: Mapping[str, float] | None = None) -> None:
        """Note how much is done, with the metrics so far. For any thread."""
        self._state = (done, total, metrics or {})

    def _report(self) -> None:
        sent = None
        while not self._stop.wait(self._interval_s):
            if self._state is sent:
                continue
            sent = self._state
            try:
                self._send()
            except (JobClosed, EventRefused) as error:
                _exit(error)

    def _send(self) -> None:
        if self._state is not None:
            done, total, metrics = self._state
            self._events.progress(done, total, lambda: metrics)


def _exit(error: AdapterError) -> None:
    closed = isinstance(error, JobClosed)
    say(f"the job is closed: stopping ({error})" if closed else f"events are refused: stopping ({error})")
    os._exit(0 if closed else 1)
