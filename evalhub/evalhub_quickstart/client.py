"""Client of the model: chat completions with retries, over one persistent connection per thread."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from evalhub_common.adapter.errors import RequestFailed
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.model_errors import endpoint_unusable
from evalhub_common.adapter.model_probe import CHAT_PROMPT
from evalhub_quickstart import __version__
from evalhub_quickstart.options import Options
from evalhub_quickstart.wire import request_body


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


class EndpointClient:
    """A client for one model, with one connection per thread. A context manager; exiting closes all connections."""

    def __init__(self, model: Model, *, timeout_s: float, max_retries: int) -> None:
        """Raises JobInvalid if the CA file beside the API key cannot be used."""
        self._model = model
        agent = f"evalhub-quickstart/{__version__}"
        self._client = ModelClient(model, user_agent=agent, timeout_s=timeout_s, max_retries=max_retries)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.__exit__(kind, error, trace)


class ChatClient(EndpointClient):
    """A client for whole answers, with retries; for any number of threads."""

    def __init__(self, model: Model, options: Options, *, default_max_tokens: int) -> None:
        """Raises JobInvalid if the CA file beside the API key cannot be used."""
        super().__init__(model, timeout_s=options.timeout_s, max_retries=options.max_retries)
        self._seed = options.seed or 0
        self._fixed_body = request_body(model, options, default_max_tokens)

    def probe(self) -> None:
        """Send one trivial prompt, so that an unusable endpoint is found before the run.

        Raises:
            ModelUnusable: the text names the URL, the failure and what to check.
        """
        try:
            self.complete(CHAT_PROMPT, retry_refused=False)
        except RequestFailed as failure:
            raise endpoint_unusable(failure, self._model, self._model.chat.url) from failure

    def complete(self, prompt: str, *, retry_refused: bool = True) -> Completion:
        """Send one prompt; retry on 429, 5xx and broken connections, at most ``max_retries`` times.

        Raises:
            RequestFailed: no usable response; the text does not contain the API key.
        """
        body = {**self._fixed_body, "messages": [{"role": "user", "content": prompt}]}
        choice, answer, attempts = self._client.complete(
            self._model.chat, body, seed=f"{self._seed} {prompt}", retry_refused=retry_refused
        )
        return Completion(choice.text, answer.elapsed_s, attempts, choice.output_tokens)
