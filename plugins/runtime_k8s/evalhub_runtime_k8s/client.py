"""Client of the Kubernetes API: JSON in, JSON out, and every refusal with its reason.

Authentication, TLS and kubeconfig are those of ``kubernetes_asyncio``. Its models are not used: building them for a list
of pods blocks the event loop many times longer than decoding the few fields that are needed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, cast

import aiohttp
import msgspec
from msgspec import Struct

from evalhub_runtime_k8s.api_errors import (
    TRANSIENT,
    UNAVAILABLE,
    ApiRefusal,
    Transient,
    check,
    raise_for,
    warnings_of,
)
from evalhub_runtime_k8s.api_resources import JOBS, PODS, Resource
from evalhub_runtime_k8s.credentials import Credentials
from evalhub_server.plugins import Backoff, Json, RuntimeUnavailable

S = TypeVar("S", bound=Struct)

REQUEST_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
SILENCE_S = 300.0
"""After this long without output, a followed log is requested again: the connection may be dead."""
PAGE = 500
MAX_TRIES = 3
RETRY = Backoff(first_s=0.2, max_s=5.0)
MERGE_PATCH = "application/merge-patch+json"


class Response(Struct, frozen=True):
    """A successful response. ``warnings``: for example that a policy would refuse the pod."""

    body: Json
    warnings: tuple[str, ...] = ()


class KubernetesApi:
    """A connection to one cluster. :meth:`open` first, :meth:`close` last.

    Methods raise :class:`ApiRefusal`, or :class:`RuntimeUnavailable` after several failed attempts; a write may have
    been carried out then.
    """

    def __init__(self) -> None:
        self._credentials = Credentials()

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
        self, resource: Resource, namespace: str, body: Json, *, dry_run: bool = False
    ) -> Response:
        query = {"dryRun": "All"} if dry_run else {}
        return await self._call("POST", resource.path(namespace), query, body)

    async def replace(self, resource: Resource, namespace: str, body: Json) -> Json:
        name: str = body["metadata"]["name"]
        return (await self._call("PUT", resource.path(namespace, name), body=body)).body

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Json) -> Json:
        """Apply a merge patch (RFC 7386)."""
        path = resource.path(namespace, name)
        return (await self._call("PATCH", path, body=patch, content_type=MERGE_PATCH)).body

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
        self, resource: Resource, namespace: str, selector: str, item: type[S], *, tries: int = MAX_TRIES
    ) -> tuple[list[S], str]:
        """Return all objects with these labels, decoded as ``item``, and the resource version of the list."""
        query = {"labelSelector": selector, "limit": str(PAGE)}
        found: list[S] = []
        while True:
            raw, _ = await self._request("GET", resource.path(namespace), query, None, "", tries)
            page: _Page[S] = msgspec.json.decode(raw, type=cast("Any", _Page)[item])
            found += page.items or []
            if not page.metadata.continue_:
                return found, page.metadata.resource_version
            query = {**query, "continue": page.metadata.continue_}

    async def watch(
        self, resource: Resource, namespace: str, selector: str, version: str, timeout_s: float
    ) -> AsyncGenerator[str, None]:
        """Yield the type of every change since ``version``; ends when the API ends it.

        Raises :class:`ApiRefusal`: 403 without the right, 410 for a version that is too old.
        """
        query = {
            "labelSelector": selector,
            "watch": "true",
            "allowWatchBookmarks": "true",
            "resourceVersion": version,
            "timeoutSeconds": str(round(timeout_s)),
        }
        timeout = aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT_S, sock_read=timeout_s + REQUEST_TIMEOUT_S)
        async with self._response("GET", resource.path(namespace), query, None, "", timeout) as response:
            await check(response)
            async for line in response.content:
                event = msgspec.json.decode(line, type=_Event)
                if event.type == "ERROR":
                    raise ApiRefusal(event.object.code or 500, event.object.reason, event.object.message)
                yield event.type

    async def log(self, namespace: str, pod: str, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Yield the output of a container so far; with ``follow`` until it exits."""
        silence_s = SILENCE_S if "follow" in query else REQUEST_TIMEOUT_S
        timeout = aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT_S, sock_read=silence_s)
        async with self._response(
            "GET", PODS.path(namespace, pod, "log"), query, None, "", timeout
        ) as response:
            await check(response)
            async for chunk in response.content.iter_any():
                yield chunk

    async def _call(
        self,
        method: str,
        path: str,
        query: Mapping[str, str] | None = None,
        body: Json | None = None,
        content_type: str = "application/json",
        tries: int = MAX_TRIES,
    ) -> Response:
        raw, warnings = await self._request(method, path, query or {}, body, content_type, tries)
        return Response(msgspec.json.decode(raw, type=dict[str, Any]), warnings)

    async def _request(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | None,
        content_type: str,
        tries: int = MAX_TRIES,
    ) -> tuple[bytes, tuple[str, ...]]:
        """Send a request, with retries. A repeated write is safe: names are fixed, and deletions are idempotent."""
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        problem = ""
        for attempt in range(1, tries + 1):
            delay_s = RETRY.delay_s(attempt)
            try:
                async with self._response(method, path, query, body, content_type, timeout) as response:
                    raw = await response.read()
                    raise_for(response.status, raw)
                    return raw, warnings_of(response)
            except Transient as error:
                problem, delay_s = str(error), max(delay_s, min(error.retry_after_s, RETRY.max_s))
            except RuntimeUnavailable as error:
                problem = str(error)
            if attempt < tries:
                await asyncio.sleep(delay_s)
        raise RuntimeUnavailable(problem, UNAVAILABLE)

    @asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  aiohttp's, with separate limits for connecting and reading
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        headers = {"Accept": "application/json"}
        if content_type:
            headers["Content-Type"] = content_type

        async def send(client: Any) -> aiohttp.ClientResponse:
            return await client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params=dict(headers),
                body=body,
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
                    raise Transient(self.host, response.status, await response.read(), response.headers)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = str(error) or type(error).__name__
            raise RuntimeUnavailable(
                f"the Kubernetes API at {self.host} is unavailable: {text}", UNAVAILABLE
            ) from error


class _ListMeta(Struct, frozen=True, rename="camel"):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class _Page(Struct, Generic[S], frozen=True):
    items: list[S] | None = None
    metadata: _ListMeta = _ListMeta()


class _EventObject(Struct, frozen=True):
    code: int = 0
    reason: str = ""
    message: str = ""


class _Event(Struct, frozen=True):
    type: str
    object: _EventObject = _EventObject()
