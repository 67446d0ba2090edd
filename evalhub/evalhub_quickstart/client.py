"""Asking the model: chat completions with retries, on one kept-alive connection per thread."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from types import TracebackType

from evalhub_quickstart import __version__
from evalhub_quickstart.errors import ConnectionFailed, JobInvalid, ModelUnusable, RequestFailed
from evalhub_quickstart.hints import what_to_check
from evalhub_quickstart.jsonvalue import dump
from evalhub_quickstart.model import Model
from evalhub_quickstart.options import Options
from evalhub_quickstart.transport import Answer, JsonConnection, tls_context
from evalhub_quickstart.wire import error_message, read_completion, request_body

FIRST_RETRY_S = 0.2
LONGEST_RETRY_S = 10.0
LONGEST_RETRY_AFTER_S = 30.0
PROBE_PROMPT = "Reply with the single word: ready"


@dataclass(frozen=True)
class Completion:
    """One answered request.

    ``latency_s`` is the time of the last attempt alone, without the waits between attempts; ``output_tokens``
    is None if the endpoint does not count.
    """

    text: str
    latency_s: float
    attempts: int
    output_tokens: int | None


class ChatClient:
    """A client for one model, for any number of threads.

    A context manager; leaving it closes every connection.
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
            self._context = tls_context(model.target, model.secret.ca_file)
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
        """Ask one trivial question, so that an endpoint that cannot work is found before the whole run.

        Raises:
            ModelUnusable: saying what happened at which URL and what to check.
        """
        try:
            self.complete(PROBE_PROMPT, retry_refused=False)
        except RequestFailed as failure:
            url = self._model.target.url
            hint = what_to_check(failure, self._model)
            raise ModelUnusable(f"the model endpoint {url} cannot be used: {failure}. {hint}") from failure

    def complete(self, prompt: str, *, retry_refused: bool = True) -> Completion:
        """Ask once, repeating on 429, on 5xx and on broken connections as often as the options allow.

        Raises:
            RequestFailed: no usable answer; the text never holds the API key.
        """
        jitter = random.Random(f"{self._options.seed or 0} {prompt}")  # noqa: S311  no secret
        body = dump({**self._fixed_body, "messages": [{"role": "user", "content": prompt}]}).encode()
        repeatable = {"reset", "refused"} if retry_refused else {"reset"}
        attempt = 0
        while True:
            attempt += 1
            last = attempt > self._options.max_retries
            try:
                answer = self._connection().post(body)
            except ConnectionFailed as failure:
                if last or failure.kind not in repeatable:
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
                self._model.target,
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
        """What the endpoint says about its error, shortened, behind a colon; nothing if it says nothing."""
        text = error_message(answer.body)
        if self._model.secret.api_key:  # some endpoints repeat the key that they refuse
            text = text.replace(self._model.secret.api_key, "***")
        return f": {text[:300]}" if text else ""


def retry_delay_s(attempt: int, retry_after: str | None, jitter: random.Random) -> float:
    """How long to wait after failed attempt number ``attempt`` (from 1).

    ``Retry-After`` (seconds or a date, RFC 9110 section 10.2.3) is honoured up to 30 s. Otherwise 0.2 s
    doubled per attempt up to 10 s, of which a random half is taken away so that parallel workers do not
    return in step.
    """
    asked = _retry_after_s(retry_after) if retry_after else None
    if asked is not None:
        return min(max(asked, 0.0), LONGEST_RETRY_AFTER_S)
    return min(FIRST_RETRY_S * 2 ** (attempt - 1), LONGEST_RETRY_S) * (0.5 + jitter.random() / 2)


def _retry_after_s(value: str) -> float | None:
    if value.strip().isdecimal():
        return float(value)
    from email.utils import parsedate_to_datetime  # hardly any endpoint sends a date

    try:
        return parsedate_to_datetime(value).timestamp() - time.time()
    except (ValueError, OverflowError):
        return None
