"""A request before a run, which finds out whether the endpoint can chat."""

from __future__ import annotations

from evalhub_adapters import __version__
from evalhub_common.adapter import model_probe
from evalhub_common.adapter.model import Model
from evalhub_common.adapter.model_client import ModelClient


def probe_chat(model: Model, *, timeout_s: float, max_retries: int) -> None:
    """Send one trivial prompt, so that an unusable endpoint is found before the run.

    Raises:
        ModelUnusable: the text names the URL, the failure and what to check.
        JobInvalid: the CA file beside the API key cannot be used.
    """
    agent = f"evalhub-adapters/{__version__}"
    with ModelClient(model, user_agent=agent, timeout_s=timeout_s, max_retries=max_retries) as client:
        model_probe.probe_chat(client, model)
