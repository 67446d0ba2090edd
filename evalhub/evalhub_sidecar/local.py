"""Routes of a workstation's sidecar, and access control: requests of this computer's programs, not of web pages."""

from __future__ import annotations

from aiohttp import web
from multidict import CIMultiDictProxy

from evalhub_common.addresses import is_loopback
from evalhub_common.urls import host_of, origin_host
from evalhub_sidecar.errors import Refused
from evalhub_sidecar.events import EventProxy, job_of_events
from evalhub_sidecar.forward import Forwarder
from evalhub_sidecar.handler import no_route
from evalhub_sidecar.local_jobs import PREFIX, LocalJobs, split_job
from evalhub_sidecar.paths import Target
from evalhub_sidecar.server import Server


class Guard:
    """Refuses foreign origins, and foreign names for this host (DNS rebinding), which a browser could send."""

    def __init__(self, own_host: str) -> None:
        self._own_host = own_host.lower()

    def check(self, headers: CIMultiDictProxy[str]) -> None:
        """Raises :class:`Refused`, 403."""
        host = headers.get("Host")
        if host is not None and not self._known(host_of(host)):
            raise Refused(403, "host_not_allowed", f"The sidecar does not serve the host '{host}'.")
        origin = headers.get("Origin")
        if origin is not None and not self._known(origin_host(origin)):
            raise Refused(403, "origin_not_allowed", f"The sidecar does not serve pages of '{origin}'.")

    def _known(self, host: str | None) -> bool:
        return host is not None and (is_loopback(host) or host == self._own_host)


class LocalRoutes:
    """API requests go to the server, with the client's own authorization, ``/model/<job id>/…`` to that job's model."""

    def __init__(
        self, forward: Forwarder, server: Server, events: EventProxy, jobs: LocalJobs, guard: Guard
    ) -> None:
        self._forward = forward
        self._server = server
        self._events = events
        self._jobs = jobs
        self._guard = guard

    async def __call__(self, request: web.BaseRequest, target: Target, trace: str) -> web.StreamResponse:
        """A :data:`~evalhub_sidecar.handler.Route`."""
        self._guard.check(request.headers)
        if request.method == "POST" and job_of_events(target) is not None:
            return await self._events(request, target, trace)
        if self._server.serves(target):
            return await self._forward(
                request,
                self._server.upstream,
                self._server.target(target),
                trace,
            )
        if target.path.startswith(PREFIX):
            job_id, path = split_job(target.path)
            return await self._forward(request, await self._jobs.model_of(job_id), path + target.query, trace)
        raise no_route(target)
