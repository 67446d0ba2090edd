"""Decorators of the handlers that are called most often."""

from __future__ import annotations

from functools import partial
from typing import Any

from litestar import HttpMethod, Litestar
from litestar.handlers import HTTPRouteHandler


class ApiRoute(HTTPRouteHandler):
    """Litestar's ``route``, which collects the exception handlers of all layers for each request; here, once."""

    __slots__ = ("_exception_handlers_of_layers",)
    _exception_handlers_of_layers: Any

    def on_registration(self, app: Litestar) -> None:
        super().on_registration(app)
        self._exception_handlers_of_layers = super().resolve_exception_handlers()  # pyright: ignore[reportUnknownMemberType]

    def resolve_exception_handlers(self) -> Any:
        return self._exception_handlers_of_layers


route = ApiRoute
post = partial(ApiRoute, http_method=HttpMethod.POST)
