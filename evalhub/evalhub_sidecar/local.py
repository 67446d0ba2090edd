"""A workstation's routes."""

from __future__ import annotations

from aiohttp import web

from evalhub_sidecar.events import EventProxy, job_of_events
from evalhub_sidecar.forward import Forwarder
from evalhub_sidecar.guard import Guard
from evalhub_sidecar.handler import no_route
from evalhub_sidecar.local_jobs import PREFIX, LocalJobs, split_job
from evalhub_sidecar.paths import Target
from evalhub_sidecar.server import Server


class LocalRoutes:
    """The API's requests go to the server, ``/model/<job id>/…`` to that job's model; no credentials are added."""

    def __init__(
        self, forward: Forwarder, server: Server, events: EventProxy, jobs: LocalJobs, guard: Guard
    ) -> None:
        self._forward = forward
        self._server = server
        self._events = events
        self._jobs = jobs
        self._guard = guard

    async def __call__(self, request: web.BaseRequest, target: Target, trace: str) -> web.StreamResponse:
        """A :data:`Route`."""
        self._guard.check(request.headers)
        if request.method == "POST" and job_of_events(target) is not None:
            return await self._events(request, target, trace)
        if self._server.serves(target):
            return await self._forward(
                request,
                self._server.upstream,
                self._server.target(target),
                trace,
                authorization=await self._server.authorization(),
            )
        if target.path.startswith(PREFIX):
            job_id, path = split_job(target.path)
            return await self._forward(request, await self._jobs.model_of(job_id), path + target.query, trace)
        raise no_route(target)
