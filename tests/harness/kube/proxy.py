"""An authenticating proxy in front of a server in a cluster: it maps tokens to identity headers."""

from __future__ import annotations

import aiohttp
from aiohttp import web

from harness.kube.programs import JOB_TOKEN

USERS = {f"Bearer {JOB_TOKEN}": "system:serviceaccount:team-a:evalhub-job"}
PASSED = ("X-Tenant", "Content-Type", "X-Global-Transaction-Id")


class AuthProxy:
    """Authenticates and sets ``X-User``, as kube-rbac-proxy does. ``upstream`` may change while it runs."""

    def __init__(self) -> None:
        self.upstream = ""
        self.port = 0
        self._runner: web.AppRunner | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._session = aiohttp.ClientSession()
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None and self._session is not None:
            await self._runner.cleanup()
            await self._session.close()

    async def _handle(self, request: web.Request) -> web.Response:
        assert self._session is not None
        user = USERS.get(request.headers.get("Authorization", ""))
        if user is None:
            return web.Response(status=401)
        headers = {name: request.headers[name] for name in PASSED if name in request.headers}
        try:
            async with self._session.request(
                request.method,
                self.upstream + request.raw_path,
                data=await request.read(),
                headers={**headers, "X-User": user},
            ) as answer:
                warnings = {"Warning": answer.headers["Warning"]} if "Warning" in answer.headers else {}
                return web.Response(
                    status=answer.status,
                    body=await answer.read(),
                    content_type=answer.content_type,
                    headers=warnings,
                )
        except aiohttp.ClientError:
            return web.Response(status=502)
