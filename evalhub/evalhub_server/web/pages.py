"""What the middleware needs of pages for people, which are another package's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from evalhub_server.errors import ApiError
from evalhub_server.web.credentials import Credentials
from evalhub_server.web.responses import RawResponse

if TYPE_CHECKING:
    from litestar import Litestar
    from litestar.types import ASGIApp, HTTPScope

ROOT = "/ui"
LOGIN = "/ui/login"


def is_page(path: str) -> bool:
    """Whether the page at a path belongs to them."""
    return path in ("/", ROOT) or path.startswith("/ui/")


def is_public(path: str) -> bool:
    """Whether the page at a path needs no login."""
    return path in ("/", ROOT, LOGIN) or path.startswith("/ui/assets/")


class Pages(Protocol):
    """Pages below a path of the server: their login, and the pages of refused requests."""

    def around(self, app: Litestar) -> ASGIApp:
        """The routes of the API and of the pages."""
        ...

    def entry(self) -> str:
        """The path that opens the pages in a browser; it may log in one browser, once."""
        ...

    def authenticate(
        self, scope: HTTPScope, path: str, fields: Mapping[bytes, bytes], credentials: Credentials
    ) -> RawResponse | None:
        """None for a client that is logged in, or for a page that is public; otherwise the response.

        Raises :class:`ApiError` ``unauthorized`` where a login page would be of no use.
        """
        ...

    def refusal(self, scope: HTTPScope, error: ApiError, trace_id: str) -> RawResponse:
        """The response to a request that was refused before it reached a route."""
        ...
