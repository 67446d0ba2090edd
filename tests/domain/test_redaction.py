"""Secrets in documents for other systems."""

from __future__ import annotations

from typing import Any

import pytest

from evalhub_server.domain.redaction import MASK, is_secret_name, redacted, redacted_text

SECRET_NAMES = [
    "api_key",
    "apikey",
    "API-KEY",
    "apiKey",
    "token",
    "access_token",
    "auth_token",
    "hf_token",
    "HF_TOKEN",
    "authorization",
    "Authorization",
    "password",
    "PASSWORD",
    "secret",
    "secret_key",
    "client_secret",
    "clientSecret",
    "openai_api_key",
    "OPENAI_API_KEY",
    "judge_api_key",
    "x-api-key",
    "aws_secret_access_key",
    "huggingface_token",
    "HUGGING_FACE_TOKEN",
    "openai-token",
    "github_token",
    "aws_session_token",
    "azure_client_secret",
    "db_password",
    "private_key",
    "proxy-authorization",
]
OTHER_NAMES = [
    "max_tokens",
    "max_new_tokens",
    "tokenizer",
    "tokenizer_backend",
    "eos_token",
    "add_bos_token",
    "bos_token",
    "pad_token",
    "unk_token",
    "stop_token",
    "tokens",
    "num_tokens",
    "token_count",
    "secret_ref",
    "secrets_found",
    "passwords",
    "key",
    "keys",
    "monkey",
    "sort_key",
    "author",
    "authorization_mode",
    "api_keys_used",
    "keyword",
    "model_name",
    "secretary",
    "image_token",
    "think_end_token",
]


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_texts_below_names_of_secrets_are_masked(name: str) -> None:
    assert redacted({name: "s3cr3t"}) == {name: MASK}
    assert redacted({"a": [{"b": {name: "s3cr3t"}}]}) == {"a": [{"b": {name: MASK}}]}


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_texts_below_other_names_are_kept(name: str) -> None:
    assert not is_secret_name(name)
    assert redacted({name: "</s>"}) == {name: "</s>"}


@pytest.mark.parametrize("value", [5, 0.5, True, None, "", [], ["a"], {"a": "b"}])
def test_only_texts_are_secrets(value: Any) -> None:
    assert redacted({"token": value}) == {"token": value}


def test_secrets_below_a_secret_name_that_is_an_object_are_masked() -> None:
    document = {"authorization": {"type": "basic", "password": "p"}}
    assert redacted(document) == {"authorization": {"type": "basic", "password": MASK}}


def test_the_value_beside_a_secret_name_is_masked() -> None:
    document = {"env": [{"name": "OPENAI_API_KEY", "value": "sk-1"}, {"name": "LANG", "value": "C"}]}
    assert redacted(document) == {
        "env": [{"name": "OPENAI_API_KEY", "value": MASK}, {"name": "LANG", "value": "C"}]
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://user:pw@host:8000/v1", "https://***@host:8000/v1"),
        ("https://token@host", "https://***@host"),
        ("http://u:p@ss@host/v1?a=b@c", "http://***@host/v1?a=b@c"),
        ("https://host/v1?api_key=sk-1&model=m", "https://host/v1?api_key=***&model=m"),
        ("https://host/v1?API-Key=sk-1", "https://host/v1?API-Key=***"),
        ("https://host/v1?model=m&api%5Fkey=sk-1", "https://host/v1?model=m&api%5Fkey=***"),
        ("https://host/v1?key=AIza", "https://host/v1?key=***"),
        (
            "https://host/o?X-Amz-Signature=1f&X-Amz-Expires=60",
            "https://host/o?X-Amz-Signature=***&X-Amz-Expires=60",
        ),
        ("https://host/#access_token=t", "https://host/#access_token=***"),
        ("https://host/v1?max_tokens=5&eos_token=x", "https://host/v1?max_tokens=5&eos_token=x"),
        ("postgresql://me:pw@db/x", "postgresql://***@db/x"),
        ("see https://u:p@a/ and https://b/?sig=1", "see https://***@a/ and https://b/?sig=***"),
        ("mail me@host, 1://2", "mail me@host, 1://2"),
    ],
)
def test_urls_lose_their_credentials(text: str, expected: str) -> None:
    assert redacted_text(text) == expected
    assert redacted({"x": [text]}) == {"x": [expected]}


def test_a_document_without_secrets_is_kept_and_the_original_is_not_changed() -> None:
    plain = {"a": 1, "tokenizer": "gpt2", "list": [{"url": "http://host/v1"}]}
    assert redacted(plain) == plain
    secret = {"api_key": "k"}
    redacted(secret)
    assert secret == {"api_key": "k"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pretrained=x,api_key=sk-1", "pretrained=x,api_key=***"),
        ("api_key=sk-1,pretrained=x", "api_key=***,pretrained=x"),
        ("pretrained=x, api_key = sk-1; y=z", "pretrained=x, api_key = ***; y=z"),
        ("model=gpt,API-KEY='sk 1',n=5", "model=gpt,API-KEY='***',n=5"),
        ('{"api_key": "sk-1", "n": 1}', '{"api_key": "***", "n": 1}'),
        ('{\\"api_key\\": \\"sk-1\\", \\"n\\": 1}', '{\\"api_key\\": \\"***\\", \\"n\\": 1}'),
        ("openai_api_key: sk-1\nmodel: m", "openai_api_key: ***\nmodel: m"),
        ("Authorization: Bearer sk-1", "Authorization: Bearer ***"),
        ("client.hf_token=hf_1", "client.hf_token=***"),
        ("run --api-key sk-1 --model m", "run --api-key *** --model m"),
        ("--hf-token=hf_1", "--hf-token=***"),
        ("OPENAI_API_KEY=sk-1 python run.py", "OPENAI_API_KEY=*** python run.py"),
        ("base_url=https://u:p@h/v1,api_key=sk-1", "base_url=https://***@h/v1,api_key=***"),
    ],
)
def test_secrets_in_arguments_that_are_one_text_are_masked(text: str, expected: str) -> None:
    assert redacted_text(text) == expected
    assert redacted({"model_args": text}) == {"model_args": expected}


@pytest.mark.parametrize(
    "text",
    [
        "pretrained=x,max_tokens=5,tokenizer=t,eos_token=</s>,add_bos_token=True",
        "use_auth_token=True,token=false,token=None,token=",
        "--max-tokens 5 --tokenizer t",
        "https://host/v1/models: 404",
        "the token is expired",
        "token_count=12",
    ],
)
def test_other_arguments_are_kept(text: str) -> None:
    assert redacted_text(text) == text


def test_the_value_after_a_secret_option_in_a_list_is_masked() -> None:
    assert redacted({"args": ["--api-key", "sk-1", "--max-tokens", "5", "-x"]}) == {
        "args": ["--api-key", MASK, "--max-tokens", "5", "-x"]
    }


def test_hostile_texts_take_linear_time() -> None:
    for text in (
        "api_key" * 50_000,
        "a=" * 100_000,
        "- " * 100_000,
        "api_key = " * 30_000,
        '"' * 200_000,
        "token" + " " * 200_000,
    ):
        redacted_text(text)
