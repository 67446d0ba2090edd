"""Bodies of requests, and the values in answers, on a real endpoint with a deterministic model."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pytest

from evalhub_adapters.lm_eval_adapter.logprobs import continuation_score
from evalhub_adapters.lm_eval_adapter.request_bodies import (
    generation_body,
    read_text,
    request_key,
)
from evalhub_common.adapter.model import Model, read_model
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.prompt_tokens import Token, prompt_body, read_prompt_tokens
from harness.model_server import MODEL, Kind, ModelServer, scored, tokenize

CHAT = [{"role": "user", "content": "hi"}]


def model_with(**parameters: object) -> Model:
    return read_model({"name": "m", "url": "http://h/v1", "parameters": parameters}, {})


@pytest.mark.parametrize(
    ("settings", "parameters", "explicit", "expected"),
    [
        ({}, {}, {}, {"max_tokens": 256, "temperature": 0, "seed": 7}),
        ({"max_gen_toks": 9, "do_sample": False, "top_p": 0.5}, {}, {}, {"max_tokens": 9, "top_p": 0.5}),
        ({"max_tokens": 9}, {}, {}, {"max_tokens": 9}),
        ({"temperature": 1}, {"temperature": 0.5}, {}, {"temperature": 0.5}),
        ({"temperature": 1}, {"temperature": 0.5}, {"temperature": 0.2}, {"temperature": 0.2}),
        ({}, {"seed": None}, {}, {"seed": None}),
        ({}, {"max_completion_tokens": 5}, {}, {"max_tokens": None, "max_completion_tokens": 5}),
        ({"until": ["a", "b", "c", "d", "e"]}, {}, {}, {"stop": ["a", "b", "c", "d"]}),
        ({"until": "\n"}, {}, {}, {"stop": ["\n"]}),
        ({"until": ["\n"]}, {"stop": ["x"]}, {}, {"stop": ["x"]}),
        ({"until": []}, {}, {"until": "y", "do_sample": True}, {"stop": ["y"], "do_sample": None}),
    ],
)
def test_the_job_takes_precedence_over_the_model_and_the_task(
    settings: dict[str, object],
    parameters: dict[str, object],
    explicit: dict[str, object],
    expected: dict[str, object],
) -> None:
    body = generation_body(model_with(**parameters), CHAT, settings, explicit, seed=7)
    assert body["messages"] == CHAT
    assert {name: body.get(name) for name in expected} == expected
    assert "until" not in body


def test_a_text_is_continued_and_repeats_have_names_of_their_own() -> None:
    body = generation_body(model_with(), "once", {}, {}, seed=7)
    assert (body["prompt"], body.get("messages")) == ("once", None)
    assert request_key(body, 0) == request_key(dict(body), 0)
    assert len({request_key(body, 0), request_key(body, 1), request_key({**body, "seed": 8}, 0)}) == 3


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"choices": [{"message": {"content": "<think>hm</think>\n 4"}}]}, "4"),
        ({"choices": [{"message": {"content": None}}]}, ""),
        ({"choices": [{"text": " 4 <5> 6"}]}, " 4 "),
        ({"choices": [{}]}, None),
        ({"error": "x"}, None),
    ],
)
def test_the_text_of_an_answer(document: object, text: str | None) -> None:
    assert read_text(json.dumps(document).encode(), ["a", "b", "c", "d", "<5>"]) == text


def answer_of(server: ModelServer, prompt: str) -> bytes:
    model = read_model({"name": MODEL, "url": server.base}, {})
    with ModelClient(model, user_agent="test", timeout_s=10, max_retries=0) as client:
        return client.post(model.completions, prompt_body(model, prompt, seed=0))[0].body


@pytest.mark.parametrize("start_token", [False, True])
def test_a_continuation_has_the_log_probabilities_of_its_tokens(start_token: bool) -> None:
    context, continuation = "Which colour has the sky? It is ", "deep blue, and wide"
    with ModelServer(start_token=start_token) as server:
        tokens = read_prompt_tokens(answer_of(server, context + continuation), context + continuation)
    assert tokens is not None
    score = continuation_score(tokens, context)
    words = tokenize(context + continuation)
    expected = scored(["<s>", *words] if start_token else words)[-len(tokenize(" " + continuation)) :]
    values = [token.logprob for token in expected if token.logprob is not None]
    assert score == (pytest.approx(math.fsum(values), abs=1e-9), all(t.logprob == t.best for t in expected))
    # The first token has no log-probability unless another precedes it.
    assert [token.logprob is None for token in tokens].count(True) == 1
    assert tokens[0].start == (-3 if start_token else 0)


@pytest.mark.parametrize("kind", ["ollama", "llama.cpp", "null"])
def test_an_endpoint_without_log_probabilities_of_prompts_is_recognized(kind: Kind) -> None:
    with ModelServer(kind) as server:
        assert read_prompt_tokens(answer_of(server, "the quick brown fox"), "the quick brown fox") is None


def logprobs(
    tokens: list[str],
    values: Sequence[float | None],
    usage: object = None,
    text: str | None = None,
    **more: object,
) -> bytes:
    offsets = [len("".join(tokens[:i])) for i in range(len(tokens))]
    fields = {"tokens": tokens, "token_logprobs": values, "text_offset": offsets, **more}
    choice = {"text": "".join(tokens) if text is None else text, "logprobs": fields}
    return json.dumps({"choices": [choice], "usage": usage}).encode()


ABC = ["a", "b", "c"]


@pytest.mark.parametrize(
    ("tokens", "text", "usage", "starts"),
    [
        (ABC, "abc", None, [0, 1]),
        (ABC, "abc", {"prompt_tokens": 3}, [0, 1]),  # the endpoint counts a token that it does not list
        (["a", "b"], "abc", None, [0, 1]),
        (["a", "b"], "ab", {"prompt_tokens": 2}, [0, 1]),
        (["a", "b"], "ab", {"completion_tokens": 0}, [0, 1]),
        (["a", "b", ""], "ab", {"prompt_tokens": 2, "completion_tokens": 1}, [0, 1]),
        (["<s>", *ABC], "abc", None, [-3, 0, 1]),
        (["ab", "ab"], "abab", {"prompt_tokens": 2}, [0]),
        (["a", "\ufffd", "?"], "ab?", None, [0, 1]),  # pieces of characters are not their texts
    ],
)
def test_the_generated_token_is_left_out_if_there_is_one(
    tokens: list[str], text: str, usage: object, starts: list[int]
) -> None:
    values = [None, *[-1.0] * (len(tokens) - 1)] if tokens[0] == "<s>" else [-1.0] * len(tokens)
    found = read_prompt_tokens(logprobs(tokens, values, usage, text=text), "ab")
    assert [token.start for token in found or []] == starts


@pytest.mark.parametrize(
    "answer",
    [
        b"no JSON",
        b'{"choices": []}',
        logprobs(["a", "b", "c"], [None, -1, -2], text_offset=None),
        logprobs(["x", "y", "z"], [None, -1, -2]),
        logprobs(["a", "b", "c"], [None, -1, None]),
    ],
)
def test_an_incomplete_answer_has_no_tokens(answer: bytes) -> None:
    assert read_prompt_tokens(answer, "ab") is None


def test_a_continuation_within_one_token_has_the_score_of_that_token() -> None:
    tokens = [Token(0, None, greedy=False), Token(3, -2.0, greedy=True)]
    assert continuation_score(tokens, "abcd") == (-2.0, True)
    assert continuation_score(tokens[:1], "") is None
