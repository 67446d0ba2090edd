"""Requests to a model that does not answer in time."""

from __future__ import annotations

import threading

import pytest

from evalhub_common.adapter.errors import RequestFailed
from evalhub_common.adapter.model import read_model
from evalhub_common.adapter.model_client import ModelClient
from harness.answering import AnsweringServer, Reply, Request


@pytest.mark.parametrize(("silent", "retry"), [(1, True), (2, True), (1, False)])
def test_a_request_without_an_answer_is_repeated_once(silent: int, retry: bool) -> None:
    ended = threading.Event()

    def answer(request: Request) -> Reply:
        if request.number < silent:
            ended.wait(30)
        return Reply(200, b"{}")

    with AnsweringServer(answer) as server:
        model = read_model({"name": "m", "url": server.url}, {})
        with ModelClient(
            model, user_agent="test", timeout_s=0.3, max_retries=5, retry_timeouts=retry
        ) as client:
            if silent == 1 and retry:
                assert client.post(model.chat, {})[1] == 2
            else:
                with pytest.raises(RequestFailed, match="no answer"):
                    client.post(model.chat, {})
        ended.set()
    assert len(server.requests) == 1 + retry
