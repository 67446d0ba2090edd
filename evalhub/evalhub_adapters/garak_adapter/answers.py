"""Answers of the model to the prompts of a scan: each is written at once, and an earlier run's are used again."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable
from hashlib import sha256

from evalhub_common.adapter.errors import ModelUnusable, RequestFailed
from evalhub_common.adapter.json_values import JsonObject, dump
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.model_errors import endpoint_advice
from evalhub_common.adapter.sample_file import SampleFile

Messages = list[JsonObject]
REFUSED = (400, 413, 422)
"""Statuses about one prompt: too long for the model, or refused by a filter."""


class Answers:
    """Answers prompts, for any number of threads.

    ``previous`` are the samples of an earlier run. ``on_answer`` is called after each answer, with the number of all.
    """

    def __init__(
        self,
        client: ModelClient,
        model: Model,
        generation: JsonObject,
        *,
        file: SampleFile,
        previous: Iterable[JsonObject],
        on_answer: Callable[[int], None],
    ) -> None:
        self._client = client
        self._model = model
        self._settings = model.request({}, generation)
        self._file = file
        self._on_answer = on_answer
        self._lock = threading.Lock()
        self._previous: dict[str, deque[str]] = defaultdict(deque)
        for sample in previous:
            output = sample.get("output")
            if isinstance(output, str):
                self._previous[dump(sample.get("input"))].append(output)
        self._asked: Counter[str] = Counter()
        self.done = 0
        self.reused = 0
        self.refused = 0

    def answer(self, messages: Messages) -> str | None:
        """The model's answer; None if the endpoint refuses the prompt.

        Raises:
            ModelUnusable: the endpoint failed in all attempts.
        """
        key = dump(messages)
        with self._lock:
            number = self._asked[key]
            self._asked[key] += 1
            known = self._previous[key].popleft() if self._previous.get(key) else None
        text = self._request(messages, f"{key} {number}") if known is None else known
        with self._lock:
            self.done += 1
            self.reused += known is not None
            self.refused += text is None
            if text is not None:
                name = sha256(key.encode()).hexdigest()[:16]
                self._file.write({"sample_id": name, "epoch": number, "input": messages, "output": text})
            self._on_answer(self.done)
        return text

    def _request(self, messages: Messages, seed: str) -> str | None:
        body = {**self._settings, "messages": messages}
        try:
            choice, _, _ = self._client.complete(self._model.chat, body, seed=seed)
        except RequestFailed as failure:
            if failure.status in REFUSED:
                return None
            raise ModelUnusable(
                f"the model endpoint {self._model.chat.url} failed after {self.done} requests: {failure}. "
                f"{endpoint_advice(failure, self._model)} A rerun repeats only what is missing"
            ) from failure
        return choice.text
