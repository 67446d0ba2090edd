"""The model that lm-evaluation-harness evaluates: its requests as calls of an OpenAI-compatible endpoint.

Imports the framework.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import cast

from lm_eval.api.instance import Instance
from lm_eval.api.model import LM

from evalhub_adapters.lm_eval_adapter.calls import Call, CallRunner, Value
from evalhub_adapters.lm_eval_adapter.logprobs import continuation_score
from evalhub_adapters.lm_eval_adapter.parameters import Parameters
from evalhub_adapters.lm_eval_adapter.request_bodies import (
    generation_body,
    read_text,
    request_key,
    stop_sequences,
)
from evalhub_common.adapter.json_values import JsonObject
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.prompt_tokens import prompt_body, read_prompt_tokens

_Reader = Callable[[bytes], Value | None]
_Maker = Callable[[Instance, int], Call]


class ChatText(str):
    """A prompt of several messages. As a text it is their JSON, which the framework hashes and logs."""

    messages: list[Mapping[str, object]]

    @classmethod
    def of(cls, messages: Sequence[Mapping[str, object]]) -> ChatText:
        """The prompt with these messages."""
        text = cls(json.dumps(list(messages), ensure_ascii=False))
        text.messages = list(messages)
        return text


class EndpointModel(LM):
    """A model behind an endpoint: chat or completions for texts, completions with ``echo`` for log-likelihoods."""

    def __init__(self, runner: CallRunner, model: Model, parameters: Parameters) -> None:
        super().__init__()
        self._runner = runner
        self._model = model
        self._parameters = parameters

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """The generated texts."""
        return cast("list[str]", self._run(requests, self._generation))

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """For each context and continuation: the log-probability, and whether greedy decoding gives it."""
        return cast("list[tuple[float, bool]]", self._run(requests, self._continuation))

    def loglikelihood_rolling(self, requests: list[Instance]) -> list[float]:
        """The log-probabilities of whole texts, without the first token where the endpoint has none for it."""
        return cast("list[float]", self._run(requests, self._whole_text))

    def apply_chat_template(
        self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True
    ) -> str:
        """The messages: the endpoint has the template."""
        return ChatText.of(chat_history)

    @property
    def tokenizer_name(self) -> str:
        """No tokenizer is used."""
        return ""

    def _run(self, requests: Sequence[Instance], make: _Maker) -> list[Value]:
        repeats: Counter[int] = Counter()
        calls: list[Call] = []
        for request in requests:
            calls.append(make(request, repeats[id(request)]))
            repeats[id(request)] += 1
        return self._runner.run(calls)

    def _generation(self, request: Instance, repeat: int) -> Call:
        prompt, settings = cast("tuple[str, Mapping[str, object]]", request.args[:2])
        chat = self._parameters.endpoint == "chat"
        messages = getattr(prompt, "messages", None) or [{"role": "user", "content": str(prompt)}]

        def body() -> JsonObject:
            return generation_body(
                self._model,
                messages if chat else str(prompt),
                settings,
                self._parameters.generation,
                self._parameters.seed + repeat,
            )

        until = stop_sequences(self._parameters.generation.get("until", settings.get("until")))
        return Call(
            request=request,
            sample=_sample(request),
            key=request_key(body(), repeat),
            target=self._model.chat if chat else self._model.completions,
            body=body,
            read=lambda answer: read_text(answer, until),
        )

    def _continuation(self, request: Instance, repeat: int) -> Call:
        context, continuation = map(str, request.args[:2])

        def read(answer: bytes) -> Value | None:
            tokens = read_prompt_tokens(answer, context + continuation)
            return None if tokens is None else continuation_score(tokens, context)

        return self._prompt(request, repeat, lambda: context + continuation, read, f"{len(context)}")

    def _whole_text(self, request: Instance, repeat: int) -> Call:
        text = str(request.args[0])

        def read(answer: bytes) -> Value | None:
            score = continuation_score(read_prompt_tokens(answer, text) or [], "")
            return None if score is None else score[0]

        return self._prompt(request, repeat, lambda: text, read, "text")

    def _prompt(
        self, request: Instance, repeat: int, prompt: Callable[[], str], read: _Reader, part: str
    ) -> Call:
        def body() -> JsonObject:
            return prompt_body(self._model, prompt(), self._parameters.seed)

        return Call(
            request=request,
            sample=_sample(request),
            key=f"{request_key(body(), repeat)}-{part}",
            target=self._model.completions,
            body=body,
            read=read,
        )


def _sample(request: Instance) -> tuple[str, int]:
    return request.task_name or "", request.doc_id or 0
