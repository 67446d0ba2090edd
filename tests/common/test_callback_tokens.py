"""Redaction of callback tokens."""

from __future__ import annotations

import pytest

from evalhub_common.callback_tokens import redact_callback_path, redact_callback_tokens

TOKEN = "q7Zr-3XbT0aLk_9VwYdHs5MfPeJ2nUcGoB8iRtKx1Sy"
EVENTS = "/api/v1/evaluations/jobs/job-1/events"


@pytest.mark.parametrize(
    "path",
    [
        f"/callback/{TOKEN}{EVENTS}",
        f"/callback/{TOKEN}{EVENTS}/",
        f"/callback/{TOKEN}",
        f"//callback//{TOKEN}{EVENTS}",
        f"/hub/callback/{TOKEN}{EVENTS}",
        f"/x/../callback/{TOKEN}/..{EVENTS}",
        f"/CALLBACK/{TOKEN}/x",
        f"/callback%2F{TOKEN}%2Fx",
        f"/callback%252F{TOKEN}/x",
        f"/c%61llback/%71{TOKEN[1:]}{EVENTS}",
        f"/callback\\{TOKEN}\\x",
        f"/{TOKEN}{EVENTS}",
        f"/api/v1/evaluations/jobs/{TOKEN}/events",
        f"/api/v1/evaluations/jobs?next=/callback/{TOKEN}{EVENTS}",
        f"/api/v1/evaluations/jobs?next=%2Fcallback%2F{TOKEN}",
    ],
)
def test_a_token_is_redacted_wherever_it_stands_in_a_path(path: str):
    redacted = redact_callback_path(path)
    assert TOKEN[1:] not in redacted
    assert "[redacted]" in redacted


@pytest.mark.parametrize("cut", [0, 1, 10, 20])
def test_quotations_are_redacted_also_if_their_beginning_is_cut_off(cut: int):
    text = f"{TOKEN[cut:]}{EVENTS} answered 404"
    assert redact_callback_tokens(text) == f"[redacted]{EVENTS} answered 404"


def test_the_rest_of_a_text_stays():
    text = f"POST http://me:pw@localhost:8080/callback/{TOKEN}{EVENTS} failed: see (http://a.test/callback/{TOKEN})"
    assert redact_callback_tokens(text) == (
        f"POST http://me:pw@localhost:8080/callback/[redacted]{EVENTS} failed: see (http://a.test/callback/[redacted])"
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a callback",
        TOKEN,  # not in a path
        "/callback",
        "/callback/",
        "/callback/login",
        EVENTS,
        "/tmp/evalhub-jobs/0af76519-16cd-43dd-8448-eb211c80319c/0/lighteval/mmlu/jobrun.log",
        "see meta-llama/Meta-llama-3.1-70b-instruct-fp8-dynamic-abc",
        "/models/mmlu_pro_high_school_european_history_zero_",
        f"/api/v1/evaluations/providers/{'a' * 43}",
        f"/blobs/sha256:{'0af7651916cd43dd' * 4}",
        "/api/v1/evaluations/jobs?name=100%25",
    ],
)
def test_other_texts_stay(text: str):
    assert redact_callback_tokens(text) == text
    assert redact_callback_path(text) == text
