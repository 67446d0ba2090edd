"""The sidecar's own answers: JSON in the shape of the server's."""

from __future__ import annotations

import msgspec
from aiohttp import web

from evalhub_sidecar.errors import Refused
from evalhub_sidecar.headers import TRANSACTION_ID


def refusal(refused: Refused, transaction_id: str) -> web.Response:
    """Error bodies carry ``detail`` beside the contract's three members, since the SDK's command line prints it."""
    return json_answer(
        refused.status,
        transaction_id,
        message_code=refused.code,
        message=refused.message,
        detail=refused.message,
        trace=transaction_id,
    )


def json_answer(status: int, transaction_id: str, **members: str) -> web.Response:
    """One flat object."""
    return web.Response(
        status=status,
        body=msgspec.json.encode(members) + b"\n",
        content_type="application/json",
        headers={TRANSACTION_ID: transaction_id},
    )
