"""Scores for lists: known ones at once, others in the background."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from evalhub_server.domain.lineage_view import LineageView
from evalhub_server.engine import known_scores
from evalhub_server.engine.known_scores import KnownScores, Scores
from evalhub_server.errors import SampleStoreUnavailable


class Computer:
    """Computes the scores of views, which are names here, and knows them from then on."""

    def __init__(self) -> None:
        self.known: dict[str, Scores] = {}
        self.order: list[str] = []
        self.broken: set[str] = set()
        self.fault: Exception = SampleStoreUnavailable("down")
        self.gate = asyncio.Event()
        self.gate.set()
        self.scores = KnownScores(lambda view: self.known.get(_name(view)), self._compute)

    async def _compute(self, view: LineageView) -> Scores:
        await self.gate.wait()
        name = _name(view)
        self.order.append(name)
        if name in self.broken:
            raise self.fault
        self.known[name] = ()
        return ()

    def get(self, name: str) -> Scores | None:
        return self.scores.get(name, cast("LineageView", {name: None}))

    async def computed(self, count: int) -> None:
        async with asyncio.timeout(60):
            while self.scores.computed < count:
                await asyncio.sleep(0)


def _name(view: Any) -> str:
    return next(iter(view))


async def test_what_is_not_known_is_computed_once_and_then_known() -> None:
    found = Computer()
    assert found.get("a") is None
    assert found.get("a") is None
    await found.computed(1)
    assert found.get("a") == ()
    assert found.order == ["a"]


async def test_the_newest_list_comes_first_and_the_queue_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_scores, "MAX_WAITING", 2)
    found = Computer()
    for name in "abc":
        found.get(name)
    await found.computed(2)
    assert found.order == ["c", "b"]


async def test_unreadable_samples_are_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_scores, "MAX_WAITING", 1)
    found = Computer()
    found.broken = {"a", "b"}
    for number, name in enumerate("ab", 1):
        found.get(name)
        await found.computed(number)
    assert found.get("b") is None
    found.get("a")  # of older ones, that is forgotten
    await found.computed(3)
    assert found.order == ["a", "b", "a"]


async def test_closing_stops_what_runs() -> None:
    found = Computer()
    await found.scores.close()
    found.gate.clear()
    found.get("a")
    await asyncio.sleep(0)
    await found.scores.close()
    assert found.order == []


async def test_a_fault_does_not_stop_the_others() -> None:
    found = Computer()
    found.broken, found.fault = {"b"}, ValueError("corrupt")
    found.get("a")
    found.get("b")
    await found.computed(2)
    assert found.order == ["b", "a"]
    assert found.get("a") == ()
    assert (found.scores.failed("a"), found.scores.failed("b")) == (False, True)
