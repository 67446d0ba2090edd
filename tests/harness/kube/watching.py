"""``watch=true``: changes as a stream of JSON lines."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from harness.kube import problems
from harness.kube.kinds import Kind, Object, namespace_of
from harness.kube.selectors import label_test
from harness.kube.store import Change, Store

BOOKMARK_S = 0.2


class Watches:
    """All open watches; a test can end them, or make them too old."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._open: set[asyncio.Task[Any]] = set()
        self._dropped = 0
        self.bookmark_s = BOOKMARK_S
        self.bytes_sent = 0
        """Bytes of changes, without bookmarks."""

    @property
    def count(self) -> int:
        return len(self._open)

    def drop(self) -> None:
        """Cut the connection of every open watch."""
        self._dropped += 1
        for task in self._open:
            task.cancel()

    async def serve(
        self, request: web.Request, kind: Kind, namespace: str, query: dict[str, str]
    ) -> web.StreamResponse:
        matches = label_test(query.get("labelSelector", ""))
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        dropped = self._dropped
        changes: asyncio.Queue[Change] = asyncio.Queue()
        since = int(query.get("resourceVersion") or 0)

        def note(change: Change) -> None:
            if change.kind == kind and _here(change.object, namespace) and matches(change.object):
                changes.put_nowait(change)

        unlisten = self._store.listen(note)
        try:
            if since and since < self._store.compacted:
                await _send(response, "ERROR", problems.expired().status)
                return response
            for change in self._backlog(kind, namespace, since, matches):
                note(change)
            bookmarks = problems.is_true(query.get("allowWatchBookmarks", ""))
            async with asyncio.timeout(float(query.get("timeoutSeconds") or 300)):
                while True:
                    try:
                        change = await asyncio.wait_for(changes.get(), self.bookmark_s if bookmarks else None)
                    except TimeoutError:
                        await _send(response, "BOOKMARK", _bookmark(kind, self._store.version))
                        continue
                    if dropped != self._dropped:
                        raise asyncio.CancelledError  # wait_for may swallow one that comes with a change
                    self.bytes_sent += await _send(response, change.type, change.object)
        except TimeoutError:
            return response
        except asyncio.CancelledError:
            if request.transport is not None:
                request.transport.abort()
            raise
        except ConnectionError:
            return response
        finally:
            unlisten()
            self._open.discard(task)

    def _backlog(
        self, kind: Kind, namespace: str, since: int, matches: Callable[[Object], bool]
    ) -> list[Change]:
        if since:
            return [change for change in self._store.history if change.version > since]
        version = self._store.version
        return [
            Change(version, kind, "ADDED", thing)
            for thing in self._store.all(kind, namespace)
            if matches(thing)
        ]


def _here(thing: Object, namespace: str) -> bool:
    return not namespace or namespace_of(thing) == namespace


def _bookmark(kind: Kind, version: int) -> Object:
    metadata = {"resourceVersion": str(version), "creationTimestamp": None}
    return {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": metadata}


async def _send(response: web.StreamResponse, type_: str, thing: Object) -> int:
    line = json.dumps({"type": type_, "object": thing}).encode() + b"\n"
    await response.write(line)
    return len(line)
