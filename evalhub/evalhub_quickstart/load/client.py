"""Client of the load test: chat requests that are streamed, with the times at which the pieces of an answer arrive."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from evalhub_common.adapter.connection import Answer
from evalhub_common.adapter.errors import RequestFailed
from evalhub_common.adapter.json_values import JsonObject, as_list, as_object, parse_object
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.model_errors import endpoint_unusable
from evalhub_common.adapter.model_probe import CHAT_PROMPT
from evalhub_quickstart.client import EndpointClient
from evalhub_quickstart.load.options import LoadOptions

_REFUSED = (400, 422)
"""Statuses of an endpoint that does not know a field of the request."""


class Mode(Enum):
    """What a request asks for."""

    USAGE = "a stream with numbers of tokens"
    STREAM = "a stream"
    WHOLE = "a whole answer"

    @property
    def fields(self) -> JsonObject:
        """The fields of the request body."""
        if self is Mode.WHOLE:
            return {}
        usage: JsonObject = {"stream_options": {"include_usage": True}} if self is Mode.USAGE else {}
        return {"stream": True, **usage}


@dataclass(frozen=True, kw_only=True)
class Timed:
    """One answer with its times, in seconds from sending the request.

    ``first_s`` and ``last_s`` are the arrivals of the first and the last piece of text, None if the answer was not streamed or is
    empty. ``pieces`` is their number. The numbers of tokens are those that the endpoint reports, or None.
    """

    text: str
    latency_s: float
    first_s: float | None
    last_s: float | None
    pieces: int
    prompt_tokens: int | None
    output_tokens: int | None


class LoadClient(EndpointClient):
    """A client for timed answers, without retries."""

    def __init__(self, model: Model, options: LoadOptions, mode: Mode = Mode.USAGE) -> None:
        """Raises JobInvalid if the CA file beside the API key cannot be used."""
        super().__init__(model, timeout_s=options.timeout_s, max_retries=0)
        self.mode = mode
        self._fixed = _fixed_body(model, options)

    def probe(self) -> None:
        """Send one trivial prompt, and set :attr:`mode` to what the endpoint accepts.

        Raises:
            ModelUnusable: the text names the URL, the failure and what to check.
        """
        try:
            self._settle()
        except RequestFailed as failure:
            raise endpoint_unusable(failure, self._model, self._model.chat.url) from failure

    def _settle(self) -> None:
        for mode in (Mode.USAGE, Mode.STREAM):
            self.mode = mode
            try:
                self.send(CHAT_PROMPT)
                return
            except RequestFailed as failure:
                if failure.status not in _REFUSED:
                    raise
        self.mode = Mode.WHOLE
        self.send(CHAT_PROMPT)

    def send(self, prompt: str) -> Timed:
        """Send one prompt.

        Raises:
            RequestFailed: no usable or no complete answer; the text does not contain the API key.
        """
        body = {**self._fixed, **self.mode.fields, "messages": [{"role": "user", "content": prompt}]}
        answer, _ = self._client.post(self._model.chat, body, streamed=True)
        return self._streamed(answer) if answer.lines else self._whole(answer)

    def _whole(self, answer: Answer) -> Timed:
        choice = self._client.choice(answer, 1, chat=True)
        usage = as_object(parse_object(answer.body).get("usage")) or {}
        return Timed(
            text=choice.text,
            latency_s=answer.elapsed_s,
            first_s=None,
            last_s=None,
            pieces=0,
            prompt_tokens=_count(usage, "prompt_tokens"),
            output_tokens=choice.output_tokens,
        )

    def _streamed(self, answer: Answer) -> Timed:
        arrivals: list[float] = []
        texts: list[str] = []
        usage: JsonObject = {}
        complete = False
        for at_s, data in _events(answer):
            if data == b"[DONE]":
                complete = True
                continue
            chunk = parse_object(data)
            if "error" in chunk:
                failed = Answer(answer.status, None, data, answer.elapsed_s)
                raise self._client.failure("the stream ended with an error", failed, 1)
            usage = as_object(chunk.get("usage")) or usage
            choices = as_list(chunk.get("choices")) or [None]
            choice = as_object(choices[0]) or {}
            complete = complete or choice.get("finish_reason") is not None
            if text := _text(as_object(choice.get("delta")) or {}):
                arrivals.append(at_s)
                texts.append(text)
        if not complete:
            cut = Answer(answer.status, None, b"", answer.elapsed_s)
            raise self._client.failure("the stream ended before the answer was complete", cut, 1)
        return Timed(
            text="".join(texts),
            latency_s=answer.elapsed_s,
            first_s=arrivals[0] if arrivals else None,
            last_s=arrivals[-1] if arrivals else None,
            pieces=len(arrivals),
            prompt_tokens=_count(usage, "prompt_tokens"),
            output_tokens=_count(usage, "completion_tokens"),
        )


def _fixed_body(model: Model, options: LoadOptions) -> JsonObject:
    """The request body without the messages; see :meth:`Model.request`."""
    limit = "max_completion_tokens" if "max_completion_tokens" in model.parameters else "max_tokens"
    explicit: JsonObject = {
        limit: options.output_tokens,
        "temperature": options.temperature,
        "ignore_eos": options.ignore_eos or None,
    }
    return model.request({"temperature": 0.0}, explicit)


def _events(answer: Answer) -> Iterator[tuple[float, bytes]]:
    """The data of the server-sent events. Each is on one line, as all model servers send them."""
    for at_s, line in answer.lines:
        name, _, value = line.partition(b":")
        if name == b"data":
            yield at_s, value.strip()


def _text(delta: JsonObject) -> str:
    """The generated text of a piece; the names of reasoning are those of vLLM, SGLang and Ollama."""
    for name in ("content", "reasoning_content", "reasoning"):
        if isinstance(text := delta.get(name), str) and text:
            return text
    return ""


def _count(usage: JsonObject, name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
