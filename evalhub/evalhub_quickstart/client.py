"""Client of the model: chat completions with retries, over one persistent connection per thread."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from types import TracebackType

from evalhub_common.adapter.connection import Answer, JsonConnection, tls_context
from evalhub_common.adapter.errors import ConnectionFailed, JobInvalid, ModelUnusable, RequestFailed
from evalhub_common.adapter.json_values import dump
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.model_errors import endpoint_advice, shown_error
from evalhub_common.backoff import Backoff, retry_after_s
from evalhub_quickstart import __version__
from evalhub_quickstart.options import Options
from evalhub_quickstart.wire import read_completion, request_body

RETRY = Backoff(first_s=0.2, max_s=10.0, jitter=0.5)
MAX_RETRY_AFTER_S = 30.0
PROBE_PROMPT = "Reply with the single word: ready"


@dataclass(frozen=True)
class Completion:
    """One answered request.

    ``latency_s`` is the duration of the last attempt, without the delays between attempts; ``output_tokens``
    is None if the endpoint does not report it.
    """

    text: str
    latency_s: float
    attempts: int
    output_tokens: int | None


class ChatClient:
    """A client for one model, for any number of threads.

    A context manager; exiting closes all connections.
    """

    def __init__(self, model: Model, options: Options, *, default_max_tokens: int) -> None:
        """Raises JobInvalid if the CA file beside the API key cannot be used."""
        self._model = model
        self._options = options
        self._fixed_body = request_body(model, options, default_max_tokens)
        self._headers = {"User-Agent": f"evalhub-quickstart/{__version__}"}
        if model.secret.api_key:
            self._headers["Authorization"] = f"Bearer {model.secret.api_key}"
        try:
            self._context = tls_context(model.chat, model.secret.ca_file)
        except OSError as error:
            raise JobInvalid(
                f"the CA certificates in {model.secret.ca_file} cannot be used: {error}"
            ) from error
        self._threads = threading.local()
        self._lock = threading.Lock()
        self._open: list[JsonConnection] = []

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            for connection in self._open:
                connection.close()

    def probe(self) -> None:
        """Send one trivial prompt, so that an unusable endpoint is found before the run.

        Raises:
            ModelUnusable: the text names the URL, the failure and what to check.
        """
        try:
            self.complete(PROBE_PROMPT, retry_refused=False)
        except RequestFailed as failure:
            url = self._model.chat.url
            hint = endpoint_advice(failure, self._model)
            raise ModelUnusable(f"the model endpoint {url} cannot be used: {failure}. {hint}") from failure

    def complete(self, prompt: str, *, retry_refused: bool = True) -> Completion:
        """Send one prompt; retry on 429, 5xx and broken connections, at most ``max_retries`` times.

        Raises:
            RequestFailed: no usable response; the text does not contain the API key.
        """
        jitter = random.Random(f"{self._options.seed or 0} {prompt}")  # noqa: S311  not a secret
        body = dump({**self._fixed_body, "messages": [{"role": "user", "content": prompt}]}).encode()
        retryable = {"reset", "refused"} if retry_refused else {"reset"}
        attempt = 0
        while True:
            attempt += 1
            last = attempt > self._options.max_retries
            try:
                answer = self._connection().post(body)
            except ConnectionFailed as failure:
                if last or failure.kind not in retryable:
                    raise RequestFailed(
                        str(failure), attempts=attempt, status=None, kind=failure.kind
                    ) from failure
                time.sleep(retry_delay_s(attempt, None, jitter))
                continue
            if answer.status == 200:
                return self._completion(answer, attempt)
            if last or not (answer.status == 429 or answer.status >= 500):
                raise self._failed(
                    f"it answered {answer.status}{self._error_text(answer)}", attempt, answer.status
                )
            time.sleep(retry_delay_s(attempt, answer.retry_after, jitter))

    def _connection(self) -> JsonConnection:
        connection: JsonConnection | None = getattr(self._threads, "connection", None)
        if connection is None:
            connection = JsonConnection(
                self._model.chat,
                headers=self._headers,
                timeout_s=self._options.timeout_s,
                context=self._context,
            )
            self._threads.connection = connection
            with self._lock:
                self._open.append(connection)
        return connection

    def _completion(self, answer: Answer, attempt: int) -> Completion:
        completion = read_completion(answer.body)
        if completion is None:
            problem = "it answered 200, but not with a chat completion (no choices[0].message)"
            raise self._failed(problem + self._error_text(answer), attempt, answer.status)
        text, output_tokens = completion
        return Completion(text, answer.elapsed_s, attempt, output_tokens)

    def _failed(self, text: str, attempt: int, status: int) -> RequestFailed:
        return RequestFailed(text, attempts=attempt, status=status, kind=None)

    def _error_text(self, answer: Answer) -> str:
        """The endpoint's error message, shortened, after a colon; empty if there is none."""
        return shown_error(answer.body, self._model)


def retry_delay_s(attempt: int, retry_after: str | None, jitter: random.Random) -> float:
    """The delay after failed attempt number ``attempt`` (from 1).

    A ``Retry-After`` header takes precedence over the backoff, up to 30 s.
    """
    requested_s = retry_after_s(retry_after)
    if requested_s is not None:
        return min(requested_s, MAX_RETRY_AFTER_S)
    return RETRY.delay_s(attempt, jitter.random())
