"""Routes of a pod's sidecar."""

from __future__ import annotations

from functools import partial
from urllib.parse import unquote

from aiohttp import web

from evalhub_sidecar.errors import Refused
from evalhub_sidecar.events import EventProxy, job_of_events, job_of_upload
from evalhub_sidecar.forward import Forwarder
from evalhub_sidecar.handler import no_route
from evalhub_sidecar.mlflow import Tracker, is_mlflow
from evalhub_sidecar.model import ModelProxy
from evalhub_sidecar.oci import Registry
from evalhub_sidecar.paths import Target
from evalhub_sidecar.server import EVALUATIONS, Server

UNAUTHORIZED = 401


class ClusterRoutes:
    """The first that matches: the server, MLflow, the job's repository; all other requests go to the model."""

    def __init__(
        self,
        job_id: str,
        forward: Forwarder,
        server: Server,
        events: EventProxy,
        tracker: Tracker | None,
        registry: Registry | None,
        model: ModelProxy | None,
    ) -> None:
        self._job_id = job_id
        self._forward = forward
        self._server = server
        self._events = events
        self._tracker = tracker
        self._registry = registry
        self._model = model

    async def __call__(self, request: web.BaseRequest, target: Target, trace: str) -> web.StreamResponse:
        """A :data:`~evalhub_sidecar.handler.Route`."""
        if self._server.serves(target):
            return await self._to_server(request, target, trace)
        if is_mlflow(target):
            if self._tracker is None:
                raise no_route(target)  # rather than to the model
            header = await self._tracker.authorization()
            return await self._forward(
                request, self._tracker.upstream, self._tracker.target(target), trace, authorization=header
            )
        if self._registry is not None and self._registry.serves(target):
            return await self._to_registry(request, self._registry, target, trace)
        if self._model is not None:
            upstream, header = await self._model.route(request.headers.get("Authorization"))
            return await self._forward(request, upstream, str(target), trace, authorization=header)
        raise no_route(target)

    async def _to_server(self, request: web.BaseRequest, target: Target, trace: str) -> web.StreamResponse:
        self._check_job(request.method, target)
        if request.method == "POST" and job_of_events(target) is not None:
            return await self._events(request, target, trace)
        answer = await self._forward(
            request,
            self._server.upstream,
            self._server.target(target),
            trace,
            authorization=await self._server.authorization(),
        )
        if answer.status == UNAUTHORIZED:
            self._server.forget_credentials()
        return answer

    async def _to_registry(
        self, request: web.BaseRequest, registry: Registry, target: Target, trace: str
    ) -> web.StreamResponse:
        header = await registry.authorization()
        answer = await self._forward(
            request,
            registry.upstream,
            str(target),
            trace,
            authorization=header,
            change_headers=partial(registry.change_headers, f"http://{request.host}"),
        )
        if answer.status == UNAUTHORIZED:
            registry.forget_credentials()
        return answer

    def _check_job(self, method: str, target: Target) -> None:
        """Limits a request to the pod's own job: the pod's token has rights on all jobs of the tenant.

        Raises :class:`Refused`, 403.
        """
        if not self._job_id or (method == "POST" and job_of_events(target) == self._job_id):
            return
        if method == "PUT" and job_of_upload(target) == self._job_id:
            return
        resource, _, rest = target.path.removeprefix(f"{EVALUATIONS}/").partition("/")
        own = unquote(rest.partition("/")[0]) == self._job_id
        if method in ("GET", "HEAD") and (resource != "jobs" or own):
            return
        text = f"The sidecar of job {self._job_id} forwards events and uploads of this job only, and does not read other jobs."
        raise Refused(403, "not_this_job", text)
