"""Iteration over the pages of a list."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

from evalhub_server.client.resources import Page

T = TypeVar("T")
PAGE = 100


def items_of(page: Callable[[int, int], Page[T]]) -> Iterator[T]:
    """All items of a list; ``page`` returns the page with a limit and an offset."""
    offset = 0
    while items := page(PAGE, offset)["items"]:
        yield from items
        if len(items) < PAGE:
            return
        offset += len(items)
