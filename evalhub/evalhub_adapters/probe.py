"""A request before a run, which finds out whether the endpoint can chat."""

from __future__ import annotations

from evalhub_adapters import __version__
from evalhub_common.adapter.completions import read_choice
from evalhub_common.adapter.errors import RequestFailed
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.model_errors import endpoint_unusable

PROMPT = "Reply with the single word: ready"
MAX_TOKENS = 16


def probe_chat(model: Model, *, timeout_s: float, max_retries: int) -> None:
    """Send one trivial prompt, so that an unusable endpoint is found before the run.

    Raises:
        ModelUnusable: the text names the URL, the failure and what to check.
        JobInvalid: the CA file beside the API key cannot be used.
    """
    body = model.request({"max_tokens": MAX_TOKENS}, {})
    body["messages"] = [{"role": "user", "content": PROMPT}]
    agent = f"evalhub-adapters/{__version__}"
    with ModelClient(model, user_agent=agent, timeout_s=timeout_s, max_retries=max_retries) as client:
        try:
            answer, attempts = client.post(model.chat, body, retry_refused=False)
            if read_choice(answer.body) is None:
                problem = "it answered 200, but not with a chat completion (no choices[0].message)"
                raise client.failure(problem, answer, attempts)
        except RequestFailed as failure:
            raise endpoint_unusable(failure, model, model.chat.url) from failure
