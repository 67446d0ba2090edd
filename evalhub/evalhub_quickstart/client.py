"""Client of the model: chat completions with retries, over one persistent connection per thread."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from evalhub_common.adapter.completions import read_choice
from evalhub_common.adapter.errors import ModelUnusable, RequestFailed
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.model_errors import endpoint_advice
from evalhub_quickstart import __version__
from evalhub_quickstart.options import Options
from evalhub_quickstart.wire import request_body

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
        self._seed = options.seed or 0
        self._fixed_body = request_body(model, options, default_max_tokens)
        self._client = ModelClient(
            model,
            user_agent=f"evalhub-quickstart/{__version__}",
            timeout_s=options.timeout_s,
            max_retries=options.max_retries,
        )

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.__exit__(kind, error, trace)

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
        body = {**self._fixed_body, "messages": [{"role": "user", "content": prompt}]}
        answer, attempts = self._client.post(
            self._model.chat, body, seed=f"{self._seed} {prompt}", retry_refused=retry_refused
        )
        choice = read_choice(answer.body, chat=True)
        if choice is None:
            problem = "it answered 200, but not with a chat completion (no choices[0].message)"
            raise self._client.failure(problem, answer, attempts)
        return Completion(choice.text, answer.elapsed_s, attempts, choice.output_tokens)
