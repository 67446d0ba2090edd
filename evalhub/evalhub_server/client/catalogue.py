"""Calls about providers and collections."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar, cast
from urllib.parse import quote

from evalhub_server.client.paging import items_of
from evalhub_server.client.resources import Collection, Page, Provider
from evalhub_server.client.transport import Transport, Value, decode

T = TypeVar("T", Provider, Collection)


class Catalogue(Generic[T]):
    """Providers as ``client.providers``, collections as ``client.collections``."""

    def __init__(self, transport: Transport, path: str) -> None:
        self._transport = transport
        self._path = path

    def get(self, resource_id: str) -> T:
        """One resource. Raises :class:`ResourceNotFound`."""
        return cast(
            "T", decode(self._transport.request("GET", f"{self._path}/{quote(resource_id, safe='')}").body)
        )

    def list(self, *, limit: int = 50, offset: int = 0, **filters: Value) -> Page[T]:
        """One page."""
        query: dict[str, Value] = {"limit": limit, "offset": offset, **filters}
        return cast("Page[T]", decode(self._transport.request("GET", self._path, query).body))

    def iterate(self, **filters: Value) -> Iterator[T]:
        """All resources that match, page by page."""
        return items_of(lambda limit, offset: self.list(limit=limit, offset=offset, **filters))
