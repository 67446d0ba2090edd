"""What adapters report about the addresses they see, as people read it."""

from __future__ import annotations

import pytest

from evalhub_server.domain.addresses import with_real_addresses
from evalhub_server.models.common import Message
from evalhub_server.models.event import BenchmarkEvent

PROXY = "http://localhost:8080"


def reported(text: str, model_url: str = "https://m.example.com/v1/", proxy: str = PROXY) -> str:
    message = Message(message=text, message_code="c")
    event = BenchmarkEvent(
        provider_id="p", id="b", status="failed", error_message=message, warning_message=message
    )
    mended = with_real_addresses(event, proxy, model_url)
    assert mended.error_message == mended.warning_message
    assert mended.error_message is not None
    return mended.error_message.message


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "calling http://localhost:8080/v1/completions failed",
            "calling https://m.example.com/v1/completions failed",
        ),
        ("http://localhost:8080: refused", "https://m.example.com: refused"),
        ("http://localhost:80801/v1", "http://localhost:80801/v1"),
        (
            "http://localhost:8080/api/v1/evaluations/jobs/1/events",
            "http://localhost:8080/api/v1/evaluations/jobs/1/events",
        ),
        ("nothing about addresses", "nothing about addresses"),
    ],
)
def test_the_models_host_stands_in_the_place_of_the_proxys(text: str, expected: str) -> None:
    assert reported(text) == expected


def test_credentials_in_the_models_address_are_not_shown() -> None:
    assert reported("http://localhost:8080/v1", "https://user:pass@m.test/v1") == "https://m.test/v1"


@pytest.mark.parametrize(
    ("model_url", "proxy"), [("", PROXY), ("https://m.test/v1", ""), ("not a url", PROXY)]
)
def test_without_a_proxy_or_a_model_a_text_stays(model_url: str, proxy: str) -> None:
    text = "http://localhost:8080/v1 failed"
    assert reported(text, model_url, proxy) == text
