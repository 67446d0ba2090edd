"""Execution of one level of the load test: workers that send one request after the other, each over its own connection."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from evalhub_common.adapter.errors import RequestFailed
from evalhub_common.adapter.model import Model
from evalhub_quickstart.load.client import LoadClient, Mode, Timed
from evalhub_quickstart.load.options import LoadOptions
from evalhub_quickstart.load.prompts import load_prompt

FAILURE_PAUSE_S = 0.1
"""A worker pauses after a failed request: an endpoint that refuses all would be flooded."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """One measured request. ``answer`` is None if it failed; ``failure`` is then the cause, ``error_kind`` its status or kind.

    ``started_s`` and ``ended_s`` count from the start of the level.
    """

    level: int
    number: int
    prompt: str
    started_s: float
    ended_s: float
    answer: Timed | None = None
    failure: str | None = None
    error_kind: str | None = None

    @property
    def id(self) -> str:
        """The id of its sample, the same in every run."""
        return f"c{self.level}-{self.number:05}"


class _Level:
    """The state that the workers of one level share."""

    def __init__(self, level: int, client: LoadClient, options: LoadOptions) -> None:
        self.level = level
        self.client = client
        self.options = options
        self.done: queue.SimpleQueue[Request | Exception | None] = queue.SimpleQueue()
        """Finished requests, what a worker raised, and None for each worker that has ended."""
        self._lock = threading.Lock()
        self._next = 0
        self._started = 0.0
        self._warm = threading.Barrier(level, action=self._start)

    def _start(self) -> None:
        self._started = time.perf_counter()

    def work(self, worker: int) -> None:
        """Warm up, wait for the other workers, and send requests until the level is over."""
        try:
            for index in range(self.options.warmup):
                self._send(f"warm-up {self.level} {worker} {index}")
            self._warm.wait()
            while (number := self._take()) is not None:
                request = self._measure(number)
                self.done.put(request)
                if request.failure is not None:
                    time.sleep(FAILURE_PAUSE_S)
        except Exception as error:  # noqa: BLE001  raised again in the main thread
            self.done.put(error)
            self._warm.abort()
        finally:
            self.done.put(None)

    def _take(self) -> int | None:
        """The number of the next request; None if the level is over."""
        with self._lock:
            limit_s = self.options.duration_s
            over = limit_s is not None and time.perf_counter() - self._started >= limit_s
            if over or self._next >= self.options.requests:
                return None
            self._next += 1
            return self._next - 1

    def _measure(self, number: int) -> Request:
        prompt = self._prompt(f"{self.level} {number}")
        started = time.perf_counter()
        answer, failure = _attempt(self.client, prompt)
        ended = time.perf_counter()
        return Request(
            level=self.level,
            number=number,
            prompt=prompt,
            started_s=started - self._started,
            ended_s=ended - self._started,
            answer=answer,
            failure=None if failure is None else str(failure),
            error_kind=None if failure is None else failure.kind or f"status {failure.status}",
        )

    def _send(self, name: str) -> None:
        """Send an unmeasured request; its failure shows again in the measured ones."""
        _attempt(self.client, self._prompt(name))

    def _prompt(self, name: str) -> str:
        return load_prompt(name, self.options.prompt_tokens, self.options.seed)


def run_level(
    level: int, model: Model, options: LoadOptions, mode: Mode, finished: Callable[[Request], None]
) -> list[Request]:
    """Run one level after its warm-up; ``finished`` is called with each request, in this thread. What it raises ends the run.

    Returns:
        The requests in the order in which they ended.
    """
    requests: list[Request] = []
    with LoadClient(model, options, mode) as client:
        shared = _Level(level, client, options)
        for worker in range(level):
            # Daemons: the process exits at once if the job was cancelled.
            threading.Thread(
                target=shared.work, args=(worker,), name=f"load-{level}-{worker}", daemon=True
            ).start()
        working = level
        while working:
            item = shared.done.get()
            if item is None:
                working -= 1
            elif isinstance(item, Exception):
                raise item
            else:
                requests.append(item)
                finished(item)
    return requests


def _attempt(client: LoadClient, prompt: str) -> tuple[Timed | None, RequestFailed | None]:
    try:
        return client.send(prompt), None
    except RequestFailed as failure:
        return None, failure
