"""Requests before a run, which find out whether the endpoint has what the benchmark needs."""

from __future__ import annotations

from evalhub_adapters.lm_eval_adapter.logprobs import read_prompt_tokens
from evalhub_adapters.lm_eval_adapter.request_bodies import generation_body, prompt_body, read_text
from evalhub_common.adapter.errors import ModelUnusable, RequestFailed
from evalhub_common.adapter.json_values import JsonObject
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.model_errors import endpoint_unusable

CHAT_PROMPT = [{"role": "user", "content": "Reply with the single word: ready"}]
TEXT_PROMPT = "The quick brown fox jumps over the lazy"
MAX_TOKENS = 16


class Probe:
    """Probes of one model for one benchmark."""

    def __init__(self, client: ModelClient, model: Model, task: str, twin: str | None) -> None:
        """``twin`` is a benchmark to suggest where the endpoint has no log-probabilities of prompts."""
        self._client = client
        self._model = model
        self._task = task
        self._twin = twin

    def generation(self, endpoint: str) -> None:
        """Check that the endpoint generates text, by chat or by completions.

        Raises:
            ModelUnusable: the text names the URL, the failure and what to check.
        """
        chat = endpoint == "chat"
        target = self._model.chat if chat else self._model.completions
        settings = {"max_gen_toks": MAX_TOKENS}
        body = generation_body(self._model, CHAT_PROMPT if chat else TEXT_PROMPT, settings, {}, seed=0)
        try:
            answer, attempts = self._client.post(target, body, retry_refused=False)
            if read_text(answer.body, ()) is None:
                raise self._client.failure("it answered 200, but not with a completion", answer, attempts)
        except RequestFailed as failure:
            raise endpoint_unusable(failure, self._model, target.url) from failure

    def prompt_logprobs(self) -> None:
        """Check that the endpoint reports the log-probabilities of a prompt's tokens.

        Raises:
            ModelUnusable: it does not; the text names a benchmark that needs none, if there is one.
        """
        body = prompt_body(self._model, TEXT_PROMPT, seed=0)
        try:
            answer = self._post(body)
        except RequestFailed as failure:
            if not failure.status or failure.status in (401, 403, 429) or failure.status >= 500:
                raise endpoint_unusable(failure, self._model, self._model.completions.url) from failure
            self.generation("chat")  # a wrong address or model name is another problem
            raise self._without_logprobs(f" ({failure})") from failure
        if read_prompt_tokens(answer, TEXT_PROMPT) is None:
            raise self._without_logprobs("")

    def _post(self, body: JsonObject) -> bytes:
        answer, _ = self._client.post(self._model.completions, body, retry_refused=False)
        return answer.body

    def _without_logprobs(self, detail: str) -> ModelUnusable:
        instead = f"run '{self._twin}', which needs only chat, or " if self._twin else ""
        return ModelUnusable(
            f"benchmark {self._task} compares log-probabilities of given answers, which {self._model.completions.url} does not "
            f"report for prompts ('echo' with 'logprobs'){detail}: {instead}use an endpoint that does, such as vLLM's "
            "(Ollama's and llama.cpp's do not)"
        )
