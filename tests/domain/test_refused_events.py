"""Refused events: the fault of a body, and the benchmark that it is about."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest

from evalhub_server.domain.record import RefusedEvent
from evalhub_server.domain.refused_events import encoding_fault, number_fault, refused_event
from evalhub_server.domain.validation import decode
from evalhub_server.errors import ApiError
from evalhub_server.models.event import StatusEvent
from evalhub_server.testing.builders import a_job


def a_body(**fields: Any) -> bytes:
    """An event for the first benchmark of :func:`a_job`; Python writes NaN and Infinity as such."""
    event = {"provider_id": "provider-a", "id": "bench-0", "status": "completed", **fields}
    return json.dumps({"benchmark_status_event": event}).encode()


PLAIN = a_body(metrics={"acc": 0.5})


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (a_body(metrics={"acc": float("nan")}), "metrics.acc is NaN"),
        (a_body(metrics={"f1": 1, "loss": [0, {"x": float("inf")}]}), "metrics.loss[1].x is Infinity"),
        (a_body(additional_info={"low": float("-inf")}), "additional_info.low is -Infinity"),
        (PLAIN.replace(b"0.5", b"1e400"), "metrics.acc is a number beyond the range of doubles"),
        (gzip.compress(PLAIN), "the body is compressed with gzip; send plain JSON"),
        (b"\xef\xbb\xbf" + PLAIN, "the body begins with a byte order mark (BOM); send UTF-8 without it"),
        (PLAIN.decode().encode("utf-16"), "the body is UTF-16; send UTF-8"),
        (PLAIN.decode().encode("utf-16-le"), "the body is UTF-16; send UTF-8"),
        (PLAIN.decode().encode("utf-16-be"), "the body is UTF-16; send UTF-8"),
        (PLAIN.decode().encode("utf-32"), "the body is UTF-32; send UTF-8"),
    ],
)
def test_the_message_names_what_is_not_json(body: bytes, reason: str) -> None:
    with pytest.raises(ApiError) as caught:
        decode(body, StatusEvent)
    error = caught.value
    assert (error.status, error.code, error.reason) == (400, "invalid_json_request", reason)
    assert (
        error.message == f"The request JSON is invalid: '{reason}'. Please check the request and try again."
    )


@pytest.mark.parametrize("body", [b"", b"{", b"1", b"nan", b"[1, 2", PLAIN, b'"\xff"', b"[" * 100_000])
def test_no_fault_is_named_that_is_not_there(body: bytes) -> None:
    assert encoding_fault(body) == number_fault(body) == ""


@pytest.mark.parametrize(
    "body",
    [
        a_body(),
        a_body(metrics={"acc": float("nan")}),
        b"\xef\xbb\xbf" + PLAIN,
        PLAIN.decode().encode("utf-16"),
        a_body(benchmark_index=7),
        a_body(benchmark_index="0"),
        a_body(benchmark_index=[]),
    ],
)
def test_the_benchmark_is_found_in_every_body_that_can_be_read(body: bytes) -> None:
    assert refused_event(body, "why", a_job(size=3)) == (0, RefusedEvent(reason="why", status="completed"))


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"benchmark_status_event": 1}', gzip.compress(PLAIN)]
)
def test_a_body_that_cannot_be_read_belongs_to_the_only_benchmark(body: bytes) -> None:
    assert refused_event(body, "why", a_job()) == (0, RefusedEvent(reason="why"))
    assert refused_event(body, "why", a_job(size=2)) is None


def test_an_event_of_an_unknown_benchmark_is_not_attributed_to_one_of_several() -> None:
    assert refused_event(a_body(id="other", benchmark_index=1), "why", a_job(size=2)) is None


def test_a_reason_is_one_line_of_limited_length() -> None:
    target = refused_event(a_body(), "first\n second.", a_job())
    assert target is not None
    assert target[1].reason == "first second"
    target = refused_event(a_body(), "x" * 10_000, a_job())
    assert target is not None
    assert len(target[1].reason) == 301
