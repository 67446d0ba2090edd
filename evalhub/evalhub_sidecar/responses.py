"""Responses of the sidecar itself: JSON in the shape of the server's."""

from __future__ import annotations

import msgspec
from aiohttp import web

from evalhub_sidecar.errors import Refused
from evalhub_sidecar.headers import TRANSACTION_ID


def error_response(refused: Refused, transaction_id: str) -> web.Response:
    """Beside the contract's three members the body has ``detail``, which the SDK's command line prints."""
    return json_response(
        refused.status,
        transaction_id,
        message_code=refused.code,
        message=refused.message,
        detail=refused.message,
        trace=transaction_id,
    )


def json_response(status: int, transaction_id: str, **members: str) -> web.Response:
    """A flat object."""
    return web.Response(
        status=status,
        body=msgspec.json.encode(members) + b"\n",
        content_type="application/json",
        headers={TRANSACTION_ID: transaction_id},
    )
