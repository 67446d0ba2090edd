"""The HTTP face of the fake cluster: paths, verbs, rights, faults, and the record of every call."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections import Counter
from typing import Any

from aiohttp import web

from harness.kube import problems, rights
from harness.kube.checks import pod_security_warning
from harness.kube.faults import Call, Dropped, Faults
from harness.kube.kinds import BY_PATH, JOBS, PODS, Kind
from harness.kube.podlogs import PodLogs
from harness.kube.resources import Resources
from harness.kube.store import Store
from harness.kube.watching import Watches

PATH = re.compile(
    r"/(?:api/(?P<core>v1)|apis/(?P<group>[^/]+)/(?P<version>[^/]+))"
    r"(?:/namespaces/(?P<namespace>[^/]+)(?=/[^/]+))?"
    r"/(?P<plural>[^/]+)(?:/(?P<name>[^/]+)(?:/(?P<sub>[^/]+))?)?"
)
VERBS = {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
TOKEN = "a-token-of-the-server"
PRIORITY = {
    "X-Kubernetes-PF-FlowSchema-UID": "service-accounts",
    "X-Kubernetes-PF-PriorityLevel-UID": "workload-low",
}
"""Headers of API Priority and Fairness, which every response has."""


class Api:
    """Handles every request. ``calls`` has them in the order of their arrival."""

    def __init__(self, store: Store, faults: Faults, logs: PodLogs) -> None:
        self.rights: rights.Rights = rights.OPERATOR
        self.unbound: set[str] = set()
        """Namespaces without a RoleBinding of the server: its rights do not hold there."""
        self.token = TOKEN
        self.calls: list[Call] = []
        self.bytes_sent: Counter[str] = Counter()
        """Bytes of responses by ``verb resource``; those of watches are counted there."""
        self.warning = ""
        """Warning in the response to every creation of a Job."""
        self.watches = Watches(store)
        self.resources = Resources(store)
        self._faults = faults
        self._logs = logs

    def app(self) -> web.Application:
        app = web.Application(client_max_size=16 << 20)
        app.on_response_prepare.append(_name_priority)
        app.router.add_route("*", "/{path:.*}", self._handle)
        return app

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except problems.Refused as error:
            return web.json_response(error.status, status=error.code, headers=error.headers)
        except Dropped:
            if request.transport is not None:
                request.transport.abort()
            await asyncio.sleep(0)
            return web.Response(status=500)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("Authorization") != f"Bearer {self.token}":
            raise problems.Refused(401, "Unauthorized", "Unauthorized")
        match = PATH.fullmatch(request.path)
        key = match and (match["group"] or "", match["core"] or match["version"], match["plural"])
        kind = BY_PATH.get(key) if key else None
        if match is None or kind is None:
            raise problems.Refused(404, "NotFound", "the server could not find the requested resource")
        namespace, name, sub = match["namespace"] or "", match["name"] or "", match["sub"] or ""
        query = dict(request.query)
        text = await request.read()
        try:
            body = json.loads(text) if text else None
        except ValueError as error:
            raise problems.bad_request(f"the object provided is unrecognized: {error}") from error
        verb = _verb(request.method, name, query)
        resource = f"{kind.plural}/{sub}" if sub else kind.plural
        call = Call(verb, resource, namespace, name, query, body, time.monotonic())
        self.calls.append(call)
        await self._faults.strike(call)
        bound = {} if namespace in self.unbound else self.rights
        rights.require(bound, verb, kind, sub, namespace, name)
        answer = await self._do(request, call, kind, sub)
        if isinstance(answer, web.Response) and isinstance(answer.body, bytes):
            self.bytes_sent[call.short] += len(answer.body)
        await self._faults.strike(call, after=True)
        return answer

    async def _do(self, request: web.Request, call: Call, kind: Kind, sub: str) -> web.StreamResponse:
        namespace, name, query, body = call.namespace, call.name, call.query, call.body
        dry_run = query.get("dryRun") == "All"
        if sub:
            if (kind, sub, call.verb) != (PODS, "log", "get"):
                raise problems.Refused(404, "NotFound", "the server could not find the requested resource")
            return await self._logs.serve(request, namespace, name, query)
        match call.verb:
            case "watch":
                return await self.watches.serve(request, kind, namespace, query)
            case "list":
                return web.json_response(self.resources.list(kind, namespace, query))
            case "get":
                return web.json_response(self.resources.get(kind, namespace, name))
            case "create":
                made = self.resources.create(kind, namespace, body, dry_run=dry_run)
                warning = (self.warning or pod_security_warning(made)) if kind is JOBS else ""
                headers = {"Warning": f"299 - {json.dumps(warning)}"} if warning else {}
                return web.json_response(made, status=201, headers=headers)
            case "update":
                return web.json_response(self.resources.update(kind, namespace, name, body, dry_run=dry_run))
            case "patch":
                type_ = request.content_type
                return web.json_response(
                    self.resources.patch(kind, namespace, name, body, type_, dry_run=dry_run)
                )
            case "delete":
                return web.json_response(self.resources.delete(kind, namespace, name, body, dry_run=dry_run))
            case _:
                raise problems.Refused(405, "MethodNotAllowed", "the server does not allow this method")


async def _name_priority(_request: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(PRIORITY)


def _verb(method: str, name: str, query: dict[str, Any]) -> str:
    if method == "GET":
        if problems.is_true(query.get("watch", "")):
            return "watch"
        return "get" if name else "list"
    if method == "DELETE" and not name:
        return "deletecollection"
    return VERBS.get(method, method.lower())
