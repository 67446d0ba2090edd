"""Client of a model endpoint: JSON requests with retries, over persistent connections of each thread."""

from __future__ import annotations

import random
import threading
import time
from types import TracebackType
from typing import Self

from evalhub_common.adapter.completions import Choice, read_choice
from evalhub_common.adapter.connection import Answer, JsonConnection, Target, tls_context
from evalhub_common.adapter.errors import ConnectionFailed, JobInvalid, RequestFailed
from evalhub_common.adapter.json_values import JsonObject, dump
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.model_errors import shown_error
from evalhub_common.backoff import Backoff, retry_after_s

RETRY = Backoff(first_s=0.2, max_s=10.0, jitter=0.5)
MAX_RETRY_AFTER_S = 30.0


class ModelClient:
    """A client for one model, for any number of threads.

    A context manager; exiting closes all connections. Requests are retried on 429, 5xx and broken connections, at most
    ``max_retries`` times; ``timeout_s`` limits each wait for the endpoint. ``retry_timeouts`` repeats a request once that had no
    answer in time, for frameworks in which one failed request ends the run.
    """

    def __init__(
        self,
        model: Model,
        *,
        user_agent: str,
        timeout_s: float,
        max_retries: int,
        retry_timeouts: bool = False,
    ) -> None:
        """Raises JobInvalid if the CA file beside the API key cannot be used."""
        self._model = model
        self._timeout_s = timeout_s
        self._max_retries = max_retries
        self._retry_timeouts = retry_timeouts
        self._headers = {"User-Agent": user_agent}
        if model.secret.api_key:
            self._headers["Authorization"] = f"Bearer {model.secret.api_key}"
        try:
            self._context = tls_context(model.base, model.secret.ca_file)
        except OSError as error:
            raise JobInvalid(
                f"the CA certificates in {model.secret.ca_file} cannot be used: {error}"
            ) from error
        self._threads = threading.local()
        self._lock = threading.Lock()
        self._open: list[JsonConnection] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            for connection in self._open:
                connection.close()

    def post(
        self,
        target: Target,
        body: JsonObject,
        *,
        seed: str = "",
        retry_refused: bool = True,
        streamed: bool = False,
    ) -> tuple[Answer, int]:
        """Send one request to an address of the model; returns the answer, which has the status 200, and the attempts.

        ``seed`` decides the random part of the delays between attempts. With ``streamed``, the answer has the arrival of each
        line of server-sent events.

        Raises:
            RequestFailed: no usable response; the text does not contain the API key.
        """
        jitter = random.Random(seed)  # noqa: S311  not a secret
        content = dump(body).encode()
        retryable = {"reset", "refused"} if retry_refused else {"reset"}
        if self._retry_timeouts and retry_refused:
            retryable.add("timeout")
        attempt = 0
        while True:
            attempt += 1
            last = attempt > self._max_retries
            try:
                answer = self._connection(target).post(content, streamed=streamed)
            except ConnectionFailed as failure:
                if last or failure.kind not in retryable:
                    raise RequestFailed(
                        str(failure), attempts=attempt, status=None, kind=failure.kind
                    ) from failure
                retryable.discard("timeout")
                time.sleep(retry_delay_s(attempt, None, jitter))
                continue
            if answer.status == 200:
                return answer, attempt
            if last or not (answer.status == 429 or answer.status >= 500):
                raise self.failure(f"it answered {answer.status}", answer, attempt)
            time.sleep(retry_delay_s(attempt, answer.retry_after, jitter))

    def complete(
        self, target: Target, body: JsonObject, *, seed: str = "", retry_refused: bool = True
    ) -> tuple[Choice, Answer, int]:
        """Send one request for a text, as :meth:`post`; returns the first choice, the answer and the attempts.

        A body with ``messages`` needs a chat completion, any other one a completion. Raises as :meth:`post`.
        """
        answer, attempts = self.post(target, body, seed=seed, retry_refused=retry_refused)
        return self.choice(answer, attempts, chat="messages" in body), answer, attempts

    def choice(self, answer: Answer, attempts: int, *, chat: bool) -> Choice:
        """The first choice of an answer. Raises RequestFailed if the answer is no chat completion, or no completion."""
        choice = read_choice(answer.body, chat=chat)
        if choice is None:
            kind = "chat completion (no choices[0].message)" if chat else "completion (no choices[0].text)"
            raise self.failure(f"it answered 200, but not with a {kind}", answer, attempts)
        return choice

    def failure(self, problem: str, answer: Answer, attempt: int) -> RequestFailed:
        """An error about an answer, with the endpoint's own message."""
        text = problem + shown_error(answer.body, self._model)
        return RequestFailed(text, attempts=attempt, status=answer.status, kind=None)

    def _connection(self, target: Target) -> JsonConnection:
        connections: dict[Target, JsonConnection] | None = getattr(self._threads, "connections", None)
        if connections is None:
            connections = self._threads.connections = {}
        connection = connections.get(target)
        if connection is None:
            connection = JsonConnection(
                target, headers=self._headers, timeout_s=self._timeout_s, context=self._context
            )
            connections[target] = connection
            with self._lock:
                self._open.append(connection)
        return connection


def retry_delay_s(attempt: int, retry_after: str | None, jitter: random.Random) -> float:
    """The delay after failed attempt number ``attempt`` (from 1).

    A ``Retry-After`` header takes precedence over the backoff, up to 30 s.
    """
    requested_s = retry_after_s(retry_after)
    if requested_s is not None:
        return min(requested_s, MAX_RETRY_AFTER_S)
    return RETRY.delay_s(attempt, jitter.random())
