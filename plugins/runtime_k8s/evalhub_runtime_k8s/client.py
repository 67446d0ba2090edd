"""The Kubernetes API as this plugin uses it: JSON in, JSON out, and every refusal with its reason.

Authentication, TLS and kubeconfig are those of ``kubernetes_asyncio``. Its models are not used: a list of pods would take
the event loop many times longer to build than the few fields that are read of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar, cast

import aiohttp
import msgspec
from kubernetes_asyncio.client import ApiClient
from msgspec import Struct

from evalhub_runtime_k8s.api_errors import (
    TRANSIENT,
    UNAVAILABLE,
    Refused,
    Transient,
    check,
    raise_for,
    warnings_of,
)
from evalhub_runtime_k8s.api_resources import JOBS, PODS, Resource
from evalhub_runtime_k8s.connection import load_configuration
from evalhub_server.plugins import Json, RuntimeUnavailable

S = TypeVar("S", bound=Struct)

REQUEST_TIMEOUT_S = 10.0
CONNECT_TIMEOUT_S = 5.0
PAGE = 500
TRIES = 3
FIRST_PAUSE_S = 0.2
MOST_PAUSE_S = 5.0
MERGE_PATCH = "application/merge-patch+json"


class Answer(Struct, frozen=True):
    """``warnings`` are what the API says beside a success, such as that a policy would refuse the pod."""

    body: Json
    warnings: tuple[str, ...] = ()


class KubernetesApi:
    """A connection to one cluster. :meth:`open` first, :meth:`close` last.

    Methods raise :class:`Refused`, or :class:`RuntimeUnavailable` when the API did not answer, or answered that it
    cannot just now, several times in a row. A write may have happened then.
    """

    def __init__(self) -> None:
        self._client: Any = None  # an ApiClient, whose types are half unknown
        self.host = ""

    async def open(self) -> None:
        """Find the cluster: that of this pod, else kubeconfig's. Raises :class:`StartupError`."""
        configuration = await load_configuration()
        self.host = str(configuration.host)
        self._client = ApiClient(configuration)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def get(self, resource: Resource, namespace: str, name: str) -> Json:
        return (await self._call("GET", resource.path(namespace, name))).body

    async def find(self, resource: Resource, namespace: str, name: str) -> Json | None:
        """None if there is no such object."""
        try:
            return await self.get(resource, namespace, name)
        except Refused as error:
            if error.missing:
                return None
            raise

    async def create(
        self, resource: Resource, namespace: str, body: Json, *, dry_run: bool = False
    ) -> Answer:
        query = {"dryRun": "All"} if dry_run else {}
        return await self._call("POST", resource.path(namespace), query, body)

    async def replace(self, resource: Resource, namespace: str, body: Json) -> Json:
        name: str = body["metadata"]["name"]
        return (await self._call("PUT", resource.path(namespace, name), body=body)).body

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Json) -> Json:
        """A merge patch (RFC 7386)."""
        path = resource.path(namespace, name)
        return (await self._call("PATCH", path, body=patch, content_type=MERGE_PATCH)).body

    async def delete(self, resource: Resource, namespace: str, name: str, policy: str = "") -> None:
        """Ask for the deletion; an object that is not there (any more) is deleted."""
        version = "batch/v1" if resource is JOBS else "v1"
        options: Json = {"apiVersion": version, "kind": "DeleteOptions"}
        if policy:
            options["propagationPolicy"] = policy
        try:
            await self._call("DELETE", resource.path(namespace, name), body=options)
        except Refused as error:
            if not error.missing:
                raise

    async def list(
        self, resource: Resource, namespace: str, selector: str, item: type[S], *, tries: int = TRIES
    ) -> tuple[list[S], str]:
        """All objects with these labels, read as ``item``, and the resource version of the list."""
        query = {"labelSelector": selector, "limit": str(PAGE)}
        found: list[S] = []
        while True:
            raw, _ = await self._retried("GET", resource.path(namespace), query, None, "", tries)
            page: _Page[S] = msgspec.json.decode(raw, type=cast("Any", _Page)[item])
            found += page.items or []
            if not page.metadata.continue_:
                return found, page.metadata.resource_version
            query = {**query, "continue": page.metadata.continue_}

    async def watch(
        self, resource: Resource, namespace: str, selector: str, version: str, timeout_s: float
    ) -> AsyncGenerator[str, None]:
        """Yield the type of every change since ``version``; ends when the API ends it.

        Raises :class:`Refused`: 403 without the right, 410 for a version that is too old.
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
                    raise Refused(event.object.code or 500, event.object.reason, event.object.message)
                yield event.type

    async def log(self, namespace: str, pod: str, query: Mapping[str, str]) -> AsyncGenerator[bytes, None]:
        """Yield what a container has printed so far."""
        timeout = aiohttp.ClientTimeout(connect=CONNECT_TIMEOUT_S, sock_read=REQUEST_TIMEOUT_S)
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
    ) -> Answer:
        raw, warnings = await self._retried(method, path, query or {}, body, content_type)
        return Answer(msgspec.json.decode(raw, type=dict[str, Any]), warnings)

    async def _retried(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | None,
        content_type: str,
        tries: int = TRIES,
    ) -> tuple[bytes, tuple[str, ...]]:
        """Ask a few times. Asking again for what has happened is safe: names are fixed, and deletions repeat."""
        pause_s = FIRST_PAUSE_S
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
        problem = ""
        for attempt in range(tries):
            wait_s = pause_s
            try:
                async with self._response(method, path, query, body, content_type, timeout) as response:
                    raw = await response.read()
                    raise_for(response.status, raw)
                    return raw, warnings_of(response)
            except Transient as error:
                problem, wait_s = str(error), max(pause_s, error.retry_after_s)
            except RuntimeUnavailable as error:
                problem = str(error)
            if attempt < tries - 1:
                await asyncio.sleep(min(wait_s, MOST_PAUSE_S))
                pause_s *= 2
        raise RuntimeUnavailable(problem, UNAVAILABLE)

    @asynccontextmanager
    async def _response(
        self,
        method: str,
        path: str,
        query: Mapping[str, str],
        body: Json | None,
        content_type: str,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109  the client's own, which tells connecting from reading
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        assert self._client is not None, "open() comes first"  # noqa: S101
        headers = {"Accept": "application/json"}
        if content_type:
            headers["Content-Type"] = content_type
        try:
            response: aiohttp.ClientResponse = await self._client.call_api(
                path,
                method,
                query_params=list(query.items()),
                header_params=headers,
                body=body,
                auth_settings=["BearerToken"],
                _preload_content=False,
                _request_timeout=timeout,
            )
            async with response:
                if response.status in TRANSIENT:
                    raise Transient(self.host, response.status, await response.read(), response.headers)
                yield response
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            text = str(error) or type(error).__name__
            raise RuntimeUnavailable(
                f"the cluster's API at {self.host} does not answer: {text}", UNAVAILABLE
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
