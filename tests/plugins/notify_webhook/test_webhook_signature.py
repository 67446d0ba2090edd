"""Signatures, checked with the reference implementation of Standard Webhooks."""

from __future__ import annotations

import base64
import time

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from evalhub_notify_webhook.signature import parse_secrets, sign
from evalhub_server.errors import SettingsError

SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ...").decode()
OTHER = "whsec_" + base64.b64encode(b"another one of thirty-two bytes.").decode()
BODY = '{"type":"job.completed","name":"größer"}'.encode()


def signed(*secrets: str, body: bytes = BODY) -> dict[str, str]:
    return sign(parse_secrets("\n".join(secrets), "a test"), "msg_1", int(time.time()), body)


def test_the_reference_implementation_accepts_a_signature():
    assert Webhook(SECRET).verify(BODY, signed(SECRET))["type"] == "job.completed"


def test_with_two_secrets_the_receiver_may_know_either():
    for secret in (SECRET, OTHER):
        Webhook(secret).verify(BODY, signed(SECRET, OTHER))


@pytest.mark.parametrize("change", ["secret", "body", "webhook-id", "webhook-timestamp"])
def test_it_covers_secret_body_id_and_time(change: str):
    headers = signed(OTHER if change == "secret" else SECRET)
    if change == "webhook-timestamp":
        headers[change] = str(int(headers[change]) - 1)
    elif change in headers:
        headers[change] += "0"
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(SECRET).verify(BODY + b" " if change == "body" else BODY, headers)


def test_the_example_of_the_specification():
    (secret,) = parse_secrets("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "a test")
    headers = sign([secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert headers["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@pytest.mark.parametrize("text", ["password", "whsec_c2hvcnQ=", "whsec_*******", SECRET[6:]])
def test_an_invalid_secret_is_refused_without_showing_it(text: str):
    with pytest.raises(
        SettingsError, match=r"^webhook\.secret: expected whsec_ and 24 to 64 bytes"
    ) as refused:
        parse_secrets(text, "webhook.secret")
    assert text not in str(refused.value)


@pytest.mark.parametrize("text", ["", "\n", "whsec_"])
def test_no_secret_is_refused(text: str):
    with pytest.raises(SettingsError, match=r"^webhook\.secret: "):
        parse_secrets(text, "webhook.secret")
