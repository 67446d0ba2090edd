"""Forms of the pages: changes by POST from exactly this server's own pages."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from evalhub_common.urls import normalize_origin
from evalhub_server.engine.job_creation import IdempotencyKey
from evalhub_server.errors import ApiError
from evalhub_server.web.origin_policy import SAFE_METHODS
from evalhub_server.web.request import ApiRequest
from evalhub_server.web.request_context import CONTEXT_KEY

FORM = "application/x-www-form-urlencoded"
MAX_FIELDS = 1000
KEY = "key"


def check_form_origin(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """Litestar guard: a change comes from a page of this server, or from a program with credentials that is no browser.

    Raises :class:`ApiError` ``origin_not_allowed``. The API also accepts pages of the same computer and configured origins.
    """
    scope: Any = connection.scope
    fields: Mapping[bytes, bytes] = scope[CONTEXT_KEY].fields
    # Browsers and proxies also add Authorization to requests of foreign pages: only without these headers it proves anything.
    from_browser = b"origin" in fields or b"sec-fetch-site" in fields
    if scope["method"] in SAFE_METHODS or (b"authorization" in fields and not from_browser):
        return
    origin = fields.get(b"origin", b"").decode("latin-1")
    site = fields.get(b"sec-fetch-site", b"")
    own = connection.app.state.viewer.origins.of(scope, fields)
    # A browser that omits Origin in a request of its own page still sends Sec-Fetch-Site.
    accepted = (
        normalize_origin(origin) in own and site in (b"", b"same-origin")
        if origin
        else site == b"same-origin"
    )
    if not accepted:
        raise _origin_not_allowed(origin or "(not sent)", sorted(own))


def check_not_read_only(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """Litestar guard of forms that change jobs. Raises :class:`ApiError` ``viewer_read_only`` (403)."""
    if connection.app.state.viewer.read_only:
        raise _read_only()


class Form:
    """The fields of a form that was sent. Of a repeated field all values count."""

    def __init__(self, fields: list[tuple[str, str]]) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in fields:
            self._values.setdefault(name, []).append(value)

    def text(self, name: str) -> str:
        """The first value, without surrounding white space; empty without one."""
        return self._values.get(name, [""])[0].strip()

    def texts(self, name: str) -> list[str]:
        """All values that are not empty."""
        return [text for value in self._values.get(name, ()) if (text := value.strip())]

    def idempotency_key(self, *content: object) -> IdempotencyKey | None:
        """The key of the form that was sent, for ``content``; None for a form without one. See :func:`new_key`."""
        key = self.text(KEY)
        return IdempotencyKey.of(key, *content) if key else None


def new_key() -> str:
    """The value of the hidden field ``key``: a form that is sent twice acts once."""
    return secrets.token_urlsafe(16)


async def read_form(request: ApiRequest) -> Form:
    """The form of a request. Raises :class:`ApiError` (400, 413) for another media type, or one that is malformed or too large."""
    if request.field(b"content-type").partition(";")[0].strip().lower() != FORM:
        raise ApiError(400, "invalid_form", f"The request is not a form: its media type must be {FORM}.")
    try:
        text = (await request.body()).decode()
        return Form(parse_qsl(text, keep_blank_values=True, max_num_fields=MAX_FIELDS, errors="strict"))
    except ValueError:
        text = (
            f"The form is malformed, or has more than {MAX_FIELDS} fields. Reload its page and send it again."
        )
        raise ApiError(400, "invalid_form", text) from None


def _origin_not_allowed(origin: str, own: Sequence[str]) -> ApiError:
    text = (
        f"This form was sent from '{origin[:100]}', and this server is reached at {' or '.join(own) or 'an unknown address'}. "
        "If that is the address of a proxy in front of it, set service.root_url in the server's config.yaml."
    )
    return ApiError(403, "origin_not_allowed", text)


def _read_only() -> ApiError:
    text = "The pages of this server are read-only (viewer.read_only in its config.yaml). Use the API or the command line."
    return ApiError(403, "viewer_read_only", text)
