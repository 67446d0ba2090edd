"""Requests before a run, which find out whether the endpoint has what the benchmark needs."""

from __future__ import annotations

from evalhub_adapters.lm_eval_adapter.request_bodies import generation_body
from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import ModelUnusable
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.model_probe import (
    CHAT_PROMPT,
    MAX_TOKENS,
    TEXT_PROMPT,
    probe_prompt_logprobs,
    probe_text,
)


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
        prompt = [{"role": "user", "content": CHAT_PROMPT}] if chat else TEXT_PROMPT
        body = generation_body(self._model, prompt, {"max_gen_toks": MAX_TOKENS}, {}, seed=0)
        say(f"waiting for a first answer of {target.url}")
        probe_text(self._client, self._model, target, body)

    def prompt_logprobs(self) -> None:
        """Check that the endpoint reports the log-probabilities of a prompt's tokens.

        Raises:
            ModelUnusable: it does not; the text names a benchmark that needs none, if there is one.
        """
        target = self._model.completions
        say(f"waiting for a first answer of {target.url}")
        answered = probe_prompt_logprobs(self._client, self._model)
        if answered is None:
            return
        detail = f" {answered}" if answered else ""
        instead = f"run '{self._twin}', which needs only chat, or " if self._twin else ""
        raise ModelUnusable(
            f"benchmark {self._task} compares log-probabilities of given answers, which {target.url} does not "
            f"report for prompts ('echo' with 'logprobs'){detail}: {instead}use an endpoint that does, such as vLLM's "
            "(Ollama's and llama.cpp's do not)"
        )
