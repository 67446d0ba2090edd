"""A deterministic language model behind a real OpenAI-compatible endpoint, which can behave like several kinds of servers.

The model knows words. How likely a word is depends on the eight before it, by a hash: equal prompts have equal
log-probabilities in every process. It generates the answers of ``answers`` (by a part of the prompt), else one that the prompt
determines.
"""

from __future__ import annotations

import json
import re
import threading
import time
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evalhub_quickstart.answers import Generated, stream, whole
from harness.answering import AnsweringServer, Reply, Request
from harness.quickstart import error_answer

Kind = Literal["vllm", "ollama", "llama.cpp", "null"]
"""What it does with ``echo`` and ``logprobs``: what they ask for, nothing, the generated token's, or ``logprobs: null``."""

MODEL = "test-model"
END = "<|end|>"
START = "<s>"
_TOKEN = re.compile(r"\s?\w+|\s?[^\w\s]|\s")


@dataclass(frozen=True)
class Scored:
    """A token of a prompt; its log-probability is None without a preceding token. ``best`` is the most likely token's."""

    text: str
    logprob: float | None
    best: float | None


def tokenize(text: str) -> list[str]:
    """The words of a text with the space before them, and its other characters."""
    return _TOKEN.findall(text)


def scored(tokens: Sequence[str]) -> list[Scored]:
    """The tokens with the log-probability of each after those before it."""
    return [
        Scored(token, *_probabilities(tokens[max(i - 8, 0) : i], token)) for i, token in enumerate(tokens)
    ]


def _probabilities(before: Sequence[str], token: str) -> tuple[float | None, float | None]:
    if not before:
        return None, None
    draw = zlib.crc32(f"{before}{token}".encode())
    logprob = -0.01 - (draw % 10007) / 1301
    return logprob, logprob if draw % 3 == 0 else -0.005


class ModelServer(AnsweringServer):
    """The endpoint. ``failures`` are given instead of the next answers; ``gate`` holds answers back while it is not set.

    ``start_token``: a token precedes each prompt and moves the positions of the others, as with many of vLLM's models.
    ``token_delay_s`` is the time that it takes to generate each token of a stream.
    """

    def __init__(
        self,
        kind: Kind = "vllm",
        *,
        answers: Mapping[str, str] | None = None,
        api_key: str = "",
        start_token: bool = False,
        token_delay_s: float = 0.0,
    ) -> None:
        super().__init__(self._answer)
        self.kind: Kind = kind
        self.answers = answers or {}
        self.api_key = api_key
        self.start_token = start_token
        self.token_delay_s = token_delay_s
        self.failures: list[Reply] = []
        self.gate = threading.Event()
        self.gate.set()
        self.prompts: list[str] = []
        """The prompts of all successful requests; of a chat, the last message."""
        self._ids: dict[str, int] = {}
        self._lock = threading.Lock()

    @property
    def base(self) -> str:
        """The base URL, for the ``model.url`` of a job."""
        return f"{self.url}/v1"

    def fail(self, count: int, status: int, message: str = "failed on purpose", **headers: str) -> None:
        """Give the next ``count`` requests an error."""
        self.failures += [error_answer(status, message, **headers)] * count

    def _answer(self, request: Request) -> Reply:
        self.gate.wait(30)
        with self._lock:
            if self.failures:
                return self.failures.pop(0)
        if self.api_key and request.header("Authorization") != [f"Bearer {self.api_key}"]:
            return error_answer(401, "Incorrect API key provided")
        path = request.path.partition("?")[0]
        if request.method == "GET" and path in ("/v1/models", "/tokenizer_info"):
            return _json(
                {"object": "list", "data": [{"id": MODEL, "object": "model"}]}
                if path == "/v1/models"
                else {"bos_token": START, "eos_token": END, "pad_token": END}
            )
        body = request.document if request.body else {}
        if path == "/tokenize":
            return _json({"tokens": self._encode(tokenize(body["prompt"]))})
        if path == "/detokenize":
            return _json({"prompt": "".join(self._decode(body["tokens"]))})
        if path not in ("/v1/chat/completions", "/v1/completions"):
            return error_answer(404, f"Unknown path {path}")
        if body.get("model") != MODEL:
            return error_answer(404, f"The model `{body.get('model')}` does not exist")
        return self._generate(body, chat=path.endswith("/chat/completions"))

    def _generate(self, body: dict[str, Any], *, chat: bool) -> Reply:
        prompt = body["messages"][-1]["content"] if chat else self._prompt(body["prompt"])
        with self._lock:
            self.prompts.append(prompt)
        if body.get("logprobs") and not chat and self.kind != "ollama":
            return self._with_logprobs(body, prompt)
        pieces = tokenize(self._text(prompt))
        for stop in body.get("stop") or []:
            pieces = tokenize("".join(pieces).partition(stop)[0])
        limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(pieces)
        generated = Generated(
            model=MODEL,
            prompt=prompt,
            pieces=pieces[:limit],
            finish_reason="length" if len(pieces) > limit else "stop",
            prompt_tokens=len(tokenize(prompt)),
        )
        if not body.get("stream"):
            return _json(whole(generated, chat=chat))
        usage = bool((body.get("stream_options") or {}).get("include_usage"))
        events = self._delayed(stream(generated, chat=chat, usage=usage))
        return Reply(200, events, {"Content-Type": "text/event-stream"})

    def _delayed(self, events: Iterator[bytes]) -> Iterator[bytes]:
        for event in events:
            if b'"content": "' in event and self.token_delay_s:
                time.sleep(self.token_delay_s)
            yield event

    def _text(self, prompt: str) -> str:
        for part, text in self.answers.items():
            if part in prompt:
                return text
        return f"The answer is {zlib.crc32(prompt.encode()) % 100}."

    def _with_logprobs(self, body: dict[str, Any], prompt: str) -> Reply:
        tokens = tokenize(prompt)
        if self.start_token:
            tokens = [START, *tokens]
        generated = " the"
        if self.kind == "null":
            return _json(_completion(prompt, generated, len(tokens), None))
        if self.kind == "llama.cpp" or not body.get("echo"):
            shown, offset = scored([*tokens[-8:], generated])[-1:], len(prompt)
            return _json(_completion(generated, "", len(tokens), _logprobs(shown, offset)))
        shown = scored([*tokens, generated])
        return _json(_completion(prompt, generated, len(tokens), _logprobs(shown, 0)))

    def _prompt(self, prompt: str | list[int] | list[list[int]]) -> str:
        if isinstance(prompt, str):
            return prompt
        first = prompt[0]
        ids: list[int] = first if isinstance(first, list) else prompt  # pyright: ignore[reportAssignmentType]
        return "".join(self._decode(ids))

    def _encode(self, tokens: Sequence[str]) -> list[int]:
        with self._lock:
            return [self._ids.setdefault(token, len(self._ids)) for token in tokens]

    def _decode(self, ids: Sequence[int]) -> list[str]:
        with self._lock:
            names = list(self._ids)
        return [names[number] for number in ids]


def _completion(text: str, generated: str, prompt_tokens: int, logprobs: object) -> dict[str, Any]:
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "model": MODEL,
        "choices": [{"index": 0, "text": text + generated, "logprobs": logprobs, "finish_reason": "length"}],
        "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": 1, "total_tokens": prompt_tokens + 1},
    }


def _logprobs(tokens: Sequence[Scored], offset: int) -> dict[str, Any]:
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [
            None if token.logprob is None else {token.text: token.logprob, "?": token.best}
            for token in tokens
        ],
        "text_offset": list(_offsets(tokens, offset)),
    }


def _offsets(tokens: Sequence[Scored], offset: int) -> Iterator[int]:
    for token in tokens:
        yield offset
        offset += len(token.text)


def _json(document: object) -> Reply:
    return Reply(200, json.dumps(document).encode(), {"Content-Type": "application/json"})
