"""The addresses of a model endpoint."""

from __future__ import annotations

import pytest

from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.model import read_model


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://h:8000", "http://h:8000/v1"),
        ("http://h:8000/", "http://h:8000/v1"),
        ("http://h:8000/v1", "http://h:8000/v1"),
        ("http://h:8000/v1/", "http://h:8000/v1"),
        ("http://h/v1/chat/completions", "http://h:80/v1"),
        ("http://h/v1/completions", "http://h:80/v1"),
        ("http://h/chat", "http://h:80/chat"),
        ("https://h/openai", "https://h:443/openai"),
        ("https://h/x?key=secret", "https://h:443/x"),
        ("http://[::1]:9/v1", "http://[::1]:9/v1"),
    ],
)
def test_the_addresses_of_the_endpoint(url: str, base: str) -> None:
    model = read_model({"name": "m", "url": url}, {})
    assert model.chat.url == f"{base}/chat/completions"
    assert model.completions.url == f"{base}/completions"
    assert model.chat.query == model.completions.query == ("key=secret" if "?" in url else "")


@pytest.mark.parametrize("url", ["ftp://h/v1", "h:8000", "http://", "http://[::1", "http://hö\x7f/v1"])
def test_an_address_that_cannot_be_used(url: str) -> None:
    with pytest.raises(JobInvalid, match=r"model\.url cannot be used"):
        read_model({"name": "m", "url": url}, {})
