"""The login page of a server with a token: ``/ui/login``, and the links with which ``eval-hub-server ui`` logs a browser in."""

from __future__ import annotations

import re

from litestar import post, route
from litestar.exceptions import NotFoundException

from evalhub_server.domain import request_problems
from evalhub_server.errors import ApiError
from evalhub_server.viewer.forms import read_form
from evalhub_server.viewer.page import NO_STORE, Page, page_response, redirect
from evalhub_server.viewer.page_query import PageQuery
from evalhub_server.viewer.sessions import LINK_S, Sessions
from evalhub_server.web.pages import LOGIN
from evalhub_server.web.paths import url_prefix
from evalhub_server.web.request import READ_METHODS, ApiRequest
from evalhub_server.web.responses import Header, RawResponse, encode, json_response

_PAGE = re.compile(r"/ui/[!-\[\]-~]*")
"""A path below ``/ui``, with its query. Without backslash, which browsers take for a slash."""


@route("/login", http_method=READ_METHODS, include_in_schema=False)
async def login_page(request: ApiRequest) -> RawResponse:
    """The form for the token. A valid code in ``once`` logs in without it."""
    query = PageQuery(request, ("next", "once"))
    sessions, target = _sessions(request), _target(query.text("next"))
    if sessions is None:
        return redirect(url_prefix(request.scope) + target)
    if code := query.text("once"):
        if sessions.use_link(code):
            return _logged_in(request, sessions, target)
        return await _form(
            request, query, target, f"This link was used already, or is older than {LINK_S} seconds."
        )
    return await _form(request, query, target, "")


@post("/login", status_code=303, include_in_schema=False)
async def log_in(request: ApiRequest) -> RawResponse:
    """Start a session if the token is right."""
    sessions = _sessions(request)
    if sessions is None:
        raise NotFoundException
    form = await read_form(request)
    target = _target(form.text("next"))
    if wait_s := sessions.wait_s():
        text = f"Too many wrong tokens. Try again in {wait_s} s."
        raise ApiError(429, "too_many_logins", text, {"Retry-After": str(wait_s)})
    if sessions.try_token(form.text("token")):
        return _logged_in(request, sessions, target)
    return await _form(request, PageQuery(request), target, "This is not the token of this server.")


@post("/logout", status_code=303, include_in_schema=False)
async def log_out(request: ApiRequest) -> RawResponse:
    """End the session of this browser. A new token ends all sessions."""
    sessions = _sessions(request)
    if sessions is None:
        raise NotFoundException
    prefix = url_prefix(request.scope)
    cookie = sessions.end(f"{prefix}/ui", secure=_is_secure(request))
    return redirect(prefix + LOGIN, (b"set-cookie", cookie.encode()))


@post("/links", status_code=201, include_in_schema=False)
async def login_link(request: ApiRequest) -> RawResponse:
    """A link that logs in one browser, for a client with the token: its ``path`` without the prefix of a proxy."""
    if not request.has_field(b"authorization"):
        raise request_problems.unauthorized()
    return json_response(encode({"path": entry(_sessions(request)), "valid_s": LINK_S}), 201, NO_STORE)


def entry(sessions: Sessions | None) -> str:
    """The path that opens the pages in a browser: with a login, one that logs in a browser once."""
    return "/ui/jobs" if sessions is None else f"{LOGIN}?once={sessions.new_link()}"


LOGIN_ROUTES = (login_page, log_in, log_out, login_link)


async def _form(request: ApiRequest, query: PageQuery, target: str, fault: str) -> RawResponse:
    values = {"target": target, "fault": fault}
    page = Page(name="login", title="Log in", section="", values=values, data={"message": fault or "Log in"})
    response = await page_response(request, query, page)
    return RawResponse(403 if fault else 200, (*response.headers, NO_STORE), response.body)


def _logged_in(request: ApiRequest, sessions: Sessions, target: str) -> RawResponse:
    prefix = url_prefix(request.scope)
    cookie: Header = (b"set-cookie", sessions.cookie(f"{prefix}/ui", secure=_is_secure(request)).encode())
    return redirect(prefix + target, cookie)


def _target(path: str) -> str:
    """The page to show after a login: only one of this server."""
    return path if _PAGE.fullmatch(path) else "/ui/jobs"


def _sessions(request: ApiRequest) -> Sessions | None:
    return request.app.state.viewer.sessions


def _is_secure(request: ApiRequest) -> bool:
    """Whether the browser reaches the server over TLS, itself or through a proxy."""
    origins = request.app.state.viewer.origins.of(request.scope, request.fields)
    sent = request.field(b"origin")
    return sent.startswith("https:") if sent else all(origin.startswith("https:") for origin in origins)
