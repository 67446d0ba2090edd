"""Answers as bytes that were encoded once."""

from __future__ import annotations

import msgspec
from litestar.response.base import ASGIResponse

from evalhub_server.errors import ApiError
from evalhub_server.models.common import ErrorBody

JSON = "application/json"
_encoder = msgspec.json.Encoder()


def json_response(body: bytes, status: int = 200) -> ASGIResponse:
    return ASGIResponse(body=body, status_code=status, media_type=JSON)


def no_content() -> ASGIResponse:
    # Contract: even an answer without a body says JSON.
    return ASGIResponse(body=b"", status_code=204, headers={"content-type": JSON})


def encode(value: object) -> bytes:
    return _encoder.encode(value) + b"\n"


def error_body(error: ApiError, trace: str) -> bytes:
    body = ErrorBody(message_code=error.code, message=error.message, detail=error.message, trace=trace)
    return encode(body)
