"""Client of the Kubernetes API: JSON in, JSON out, and every refusal with its reason.

Authentication, TLS and kubeconfig are those of ``kubernetes_asyncio``. Its models are not used: building them for a list
of pods blocks the event loop many times longer than decoding the few fields that are needed.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, cast

import aiohttp
import msgspec
from msgspec import Struct
from msgspec.structs import replace

from evalhub_runtime_k8s.api_errors import (
    TRANSIENT,
    UNAVAILABLE,
    ApiRefusal,
    Status,
    Transient,
    check,
    raise_for,
    warnings_of,
)
from evalhub_runtime_k8s.api_resources import JOBS, PODS, Resource
from evalhub_runtime_k8s.credentials import Credentials
from evalhub_runtime_k8s.throttle import Paused, Priority, Throttle
from evalhub_server.plugins import Backoff, Json, RuntimeUnavailable

S = TypeVar("S", bound=Struct)

REQUEST_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
SILENCE_S = 300.0
"""After this long without output, a followed log is requested again: the connection may be dead."""
WATCH_SILENCE_S = 90.0
"""After this long without a change or a bookmark, which the API sends every minute, the connection of a watch counts as dead."""
PAGE = 500
MAX_TRIES = 3
PAUSE_S = 60.0
"""How long requests wait while the API limits their number (429)."""
SHORT_PAUSE_S = 10.0
"""The same for requests with a single try, for which a client waits."""
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
RETRY = Backoff(first_s=0.2, max_s=5.0)
MERGE_PATCH = "application/merge-patch+json"


class Response(Struct, frozen=True):
    """A successful response. ``warnings``: for example that a policy would refuse the pod."""

    body: Json
    warnings: tuple[str, ...] = ()


class KubernetesApi:
    """A connection to one cluster. :meth:`open` first, :meth:`close` last.

    Methods raise :class:`ApiRefusal`, or :class:`RuntimeUnavailable` after several failed attempts; a write may have
    been carried out then. A 429 is no failure: the request is repeated after the pause that the API requests.
    """

    def __init__(self) -> None:
        self._credentials = Credentials()
        self._throttle = Throttle()

    @property
    def host(self) -> str:
        """Address of the API server."""
        return self._credentials.host

    async def open(self) -> None:
        """Connect to the cluster of this pod, else to kubeconfig's. Raises :class:`StartupError`."""
        await self._credentials.open()

    async def close(self) -> None:
        await self._credentials.close()

    async def get(self, resource: Resource, namespace: str, name: str, *, tries: int = MAX_TRIES) -> Json:
        return (await self._call("GET", resource.path(namespace, name), tries=tries)).body

    async def find(
        self, resource: Resource, namespace: str, name: str, *, tries: int = MAX_TRIES
    ) -> Json | None:
        """Return the object, or None if it does not exist."""
        try:
            return await self.get(resource, namespace, name, tries=tries)
        except ApiRefusal as error:
            if error.missing:
                return None
            raise

    async def create(
        self,
        resource: Resource,
        namespace: str,
        body: Json,
        *,
        dry_run: bool = False,
        priority: Priority = Priority.WORKLOAD,
    ) -> Response:
        query = {"dryRun": "All"} if dry_run else {}
        return await self._call("POST", resource.path(namespace), query, body, priority=priority)

    async def replace(self, resource: Resource, namespace: str, body: Json) -> Json:
        name: str = body["metadata"]["name"]
        return (await self._call("PUT", resource.path(namespace, name), body=body)).body

    async def patch(
        self,
        resource: Resource,
        namespace: str,
        name: str,
        patch: Json,
        *,
        priority: Priority = Priority.WORKLOAD,
    ) -> Json:
        """Apply a merge patch (RFC 7386)."""
        path = resource.path(namespace, name)
        response = await self._call("PATCH", path, body=patch, content_type=MERGE_PATCH, priority=priority)
        return response.body

    async def delete(self, resource: Resource, namespace: str, name: str, policy: str = "") -> None:
        """Request the deletion. An object that does not exist counts as deleted."""
        version = "batch/v1" if resource is JOBS else "v1"
        options: Json = {"apiVersion": version, "kind": "DeleteOptions"}
        if policy:
            options["propagationPolicy"] = policy
        try:
            await self._call("DELETE", resource.path(namespace, name), body=options)
        except ApiRefusal as error:
            if not error.missing:
                raise

    async def list(
        self,
        resource: Resource,
        namespace: str,
        selector: str,
        item: type[S],
        *,
        tries: int = MAX_TRIES,
        priority: Priority = Priority.WORKLOAD,
        cached: bool = False,
    ) -> tuple[list[S], str]:
        """Return all objects with these labels, decoded as ``item``, and the resource version of the list.

        ``cached``: from the memory of the API server, in one response; that may lag behind. Otherwise in pages and as
        etcd has them.
        """
        query = {"labelSelector": selector, **({"resourceVersion": "0"} if cached else {"limit": str(PAGE)})}
        request = _Request("GET", "list", resource.path(namespace), query, tries=tries, priority=priority)
        found: list[S] = []
        restarted = False
        while True:
            try:
                raw, _ = await self._request(request)
            except ApiRefusal as error:
                if not error.expired or restarted:
                    raise
                # The next pages of a list are available for some minutes only.
                request, found, restarted = replace(request, query=query), [], True
                continue
            page: _Page[S] = msgspec.json.decode(raw, type=cast("Any", _Page)[item])
            found += page.items or []
            if not page.metadata.continue_:
                return found, page.metadata.resource_version
            request = replace(request, query={**query, "continue": page.metadata.continue_})

    @asynccontextmanager
    async def watching(
        self, resource: Resource, namespace: str, selector: str, item: type[S], version: str, timeout_s: float
    ) -> AsyncGenerator[AsyncGenerator[tuple[str, S]]]:
        """Watch from ``version`` on. Yields, when the API has accepted that, every change with the object's new state.

        The changes end after ``timeout_s`` seconds. Types are ADDED, MODIFIED, DELETED and BOOKMARK, which only has a
        newer version. Raises :class:`ApiRefusal`: 403 without the right, 410 for a version that is too old.
        """
        query = {
            "labelSelector": selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(round(timeout_s)),
        }
        timeout = aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT_S, sock_read=WATCH_SILENCE_S)
        request = _Request("GET", "watch", resource.path(namespace), query, content_type="")
        async with self._stream(request, timeout) as response:
            yield self._changes(response, item)

    async def _changes(
        self, response: aiohttp.ClientResponse, item: type[S]
    ) -> AsyncGenerator[tuple[str, S]]:
        try:
            async for line in response.content:
                event = msgspec.json.decode(line, type=_Event)
                if event.type == "ERROR":
                    status = msgspec.json.decode(event.object, type=Status)
                    raise ApiRefusal(status.code or 500, status.reason, status.message)
                yield event.type, msgspec.json.decode(event.object, type=item)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unavailable(error) from error

    async def log(self, namespace: str, pod: str, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Yield the output of a container so far; with ``follow`` until it exits."""
        silence_s = SILENCE_S if "follow" in query else REQUEST_TIMEOUT_S
        timeout = aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT_S, sock_read=silence_s)
        request = _Request("GET", "log", PODS.path(namespace, pod, "log"), query, content_type="")
        async with self._stream(request, timeout) as response:
            async for chunk in response.content.iter_any():
                yield chunk

    @asynccontextmanager
    async def _stream(
        self,
        request: _Request,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  as for _response
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Send a request whose response may last for long, so that it takes no slot."""
        try:
            await self._throttle.resumed(request.verb, SHORT_PAUSE_S)
        except Paused as pause:
            raise self._unavailable(pause) from pause
        async with self._response(request, timeout) as response:
            await check(response)
            yield response

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
        tries: int = MAX_TRIES,
        priority: Priority = Priority.WORKLOAD,
    ) -> Response:
        verb = VERBS.get(method, "get")
        request = _Request(method, verb, path, query or {}, body, content_type, tries, priority)
        raw, warnings = await self._request(request)
        return Response(msgspec.json.decode(raw, type=dict[str, Any]), warnings)

    async def _request(self, request: _Request) -> tuple[bytes, tuple[str, ...]]:
        """Send a request, with retries. A repeated write is safe: names are fixed, and deletions are idempotent."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        waits = request.tries > 1 or request.priority is Priority.POLL
        until_s = time.monotonic() + (PAUSE_S if waits else SHORT_PAUSE_S)
        attempt = 1
        while True:
            delay_s = RETRY.delay_s(attempt)
            try:
                patience_s = until_s - time.monotonic()
                async with (
                    self._throttle.slot(request.verb, request.priority, patience_s),
                    self._response(request, timeout) as response,
                ):
                    raw = await response.read()
                    raise_for(response.status, raw)
                    return raw, warnings_of(response)
            except Paused as pause:
                raise self._unavailable(pause) from pause
            except Transient as error:
                if error.limited and time.monotonic() < until_s:
                    continue
                problem, delay_s = str(error), max(delay_s, min(error.retry_after_s or 0.0, RETRY.max_s))
            except RuntimeUnavailable as error:
                problem = str(error)
            if attempt >= request.tries:
                raise RuntimeUnavailable(problem, UNAVAILABLE)
            attempt += 1
            await asyncio.sleep(delay_s)

    @asynccontextmanager
    async def _response(
        self,
        request: _Request,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  aiohttp's, with separate limits for connecting and reading
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """Send a request once. Raises :class:`Transient` or :class:`RuntimeUnavailable`."""
        headers = {"Accept": "application/json"}
        if request.content_type:
            headers["Content-Type"] = request.content_type

        async def send(client: Any) -> aiohttp.ClientResponse:
            return await client.call_api(
                request.path,
                request.method,
                query_params=list(request.query.items()),
                header_params=dict(headers),
                body=request.body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=timeout,
            )

        try:
            client = self._credentials.client
            response = await send(client)
            if response.status == 401 and await self._credentials.reload(client):
                response.release()
                response = await send(self._credentials.client)
            async with response:
                if response.status in TRANSIENT:
                    error = Transient(self.host, response.status, await response.read(), response.headers)
                    if error.limited:
                        self._throttle.pause(request.verb, error.retry_after_s, response.headers)
                    raise error
                self._throttle.accepted(request.verb)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> RuntimeUnavailable:
        text = str(error) or type(error).__name__
        return RuntimeUnavailable(f"the Kubernetes API at {self.host} is unavailable: {text}", UNAVAILABLE)


class _Request(Struct, frozen=True):
    """``verb`` is RBAC's, with ``log`` for logs of pods."""

    method: str
    verb: str
    path: str
    query: Mapping[str, str] = {}
    body: Json | None = None
    content_type: str = "application/json"
    tries: int = MAX_TRIES
    priority: Priority = Priority.WORKLOAD


class _ListMeta(Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _Page(Struct, Generic[S], frozen=True):
    items: list[S] | None = None
    metadata: _ListMeta = _ListMeta()


class _Event(Struct, frozen=True):
    type: str
    object: msgspec.Raw = msgspec.Raw(b"{}")
