"""The request before a run."""

from __future__ import annotations

import json

from evalhub_adapters.probe import probe_chat
from evalhub_common.adapter.model import read_model
from harness.model_server import MODEL, ModelServer


def test_the_probe_sends_what_the_run_will_send() -> None:
    with ModelServer() as server:
        parameters = {"temperature": None, "max_completion_tokens": 50, "top_p": 0.5}
        model = read_model({"url": server.base, "name": MODEL, "parameters": parameters}, {})
        probe_chat(model, timeout_s=30, max_retries=0)
        sent = json.loads(server.requests[-1].body)
    assert sent.keys() == {"model", "messages", "max_completion_tokens", "top_p"}
