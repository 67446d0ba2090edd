"""Requests of a benchmark to the model: sent a few at a time, each kept with its sample, and none that an earlier run has."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, CancelledError, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

from evalhub_common.adapter.connection import Answer, Target
from evalhub_common.adapter.errors import RequestFailed
from evalhub_common.adapter.json_values import JsonObject, as_list, as_object
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.sample_file import SampleFile

SampleKey = tuple[str, int]
"""The task and the number of a document in it."""

Value = str | float | tuple[float, bool]
"""What lm-evaluation-harness wants of a request: a text, the log-probability of a text, or that and whether it is greedy."""


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request. ``body`` creates its body, which is too large to be kept; ``read`` returns the value in an answer, or None.

    ``request`` is the framework's own object, for the receiver of the value.
    """

    request: object
    sample: SampleKey
    key: str
    target: Target
    body: Callable[[], JsonObject]
    read: Callable[[bytes], Value | None]


class CallLog:
    """The finished calls of each sample.

    A sample whose calls are finished is written to ``file`` at once, without scores, so that a run that fails or is stopped leaves
    them to the next one. For one thread at a time.
    """

    def __init__(self, file: SampleFile, sample_id: Callable[[SampleKey], str]) -> None:
        self._file = file
        self._sample_id = sample_id
        self._expected: Counter[SampleKey] = Counter()
        self._records: dict[SampleKey, list[object]] = defaultdict(list)

    @property
    def total(self) -> int:
        """How many calls were announced."""
        return self._expected.total()

    def expect(self, calls: Iterable[Call]) -> None:
        """Announce the calls that follow."""
        self._expected.update(call.sample for call in calls)

    def add(self, call: Call, value: Value) -> bool:
        """Note a finished call; returns whether the calls of its sample are complete."""
        records = self._records[call.sample]
        records.append([call.key, value])
        if len(records) < self._expected[call.sample]:
            return False
        body = call.body()
        self._file.write(
            {
                "sample_id": self._sample_id(call.sample),
                "input": body.get("messages", body.get("prompt")),
                "output": value if isinstance(value, str) else None,
                "metadata": {"requests": records},
            }
        )
        return True

    def requests(self, sample: SampleKey) -> list[object]:
        """The keys and values of a sample's calls, for its line in the sample file."""
        return self._records[sample]


def finished_calls(samples: Iterable[JsonObject]) -> dict[str, Value]:
    """The values of the calls that lines of a sample file have, by their keys."""
    found: dict[str, Value] = {}
    for sample in samples:
        for record in as_list((as_object(sample.get("metadata")) or {}).get("requests")) or []:
            pair = as_list(record) or []
            if len(pair) == 2 and isinstance(pair[0], str):
                value = _value(pair[1])
                if value is not None:
                    found[pair[0]] = value
    return found


def _value(value: object) -> Value | None:
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    match as_list(value):
        case [int() | float() as logprob, bool() as greedy]:
            return float(logprob), greedy
        case _:
            return None


class CallRunner:
    """Sends calls with ``concurrency`` threads.

    ``previous`` has the values of an earlier run. ``done(call, value, complete)`` is called for each finished call, one at a
    time, with whether its sample is complete.
    """

    def __init__(
        self,
        client: ModelClient,
        log: CallLog,
        *,
        concurrency: int,
        previous: dict[str, Value],
        done: Callable[[Call, Value, bool], None],
    ) -> None:
        self._client = client
        self._log = log
        self._concurrency = concurrency
        self._previous = previous
        self._done = done
        self._lock = threading.Lock()
        self._failed = False
        self.reused = 0
        self.retries = 0

    def run(self, calls: Sequence[Call]) -> list[Value]:
        """The values of the calls, in their order.

        Raises:
            RequestFailed: a call failed in all attempts; the others were abandoned.
        """
        self._log.expect(calls)
        with ThreadPoolExecutor(self._concurrency, "request") as pool:
            futures = [pool.submit(self._call, call) for call in calls]
            try:
                finished = wait(futures, return_when=FIRST_EXCEPTION).done
                _raise_first(finished)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [future.result() for future in futures]

    def _call(self, call: Call) -> Value:
        value, attempts = self._previous.get(call.key), 0
        if value is None:
            value, attempts = self._send(call)
        with self._lock:
            self.reused += attempts == 0
            self.retries += max(attempts - 1, 0)
            self._done(call, value, self._log.add(call, value))
        return value

    def _send(self, call: Call) -> tuple[Value, int]:
        if self._failed:
            raise CancelledError
        try:
            answer, attempts = self._client.post(call.target, call.body(), seed=call.key)
            return self._read(call, answer, attempts), attempts
        except RequestFailed:
            self._failed = True
            raise

    def _read(self, call: Call, answer: Answer, attempts: int) -> Value:
        value = call.read(answer.body)
        if value is None:
            raise self._client.failure("it answered 200, but not with what was requested", answer, attempts)
        return value


def _raise_first(futures: Iterable[Future[Value]]) -> None:
    for future in futures:
        error = future.exception()
        if error is not None and not isinstance(error, CancelledError):
            raise error
