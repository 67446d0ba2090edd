"""Adapters as Jobs of a Kubernetes cluster."""

from __future__ import annotations

from collections.abc import AsyncIterator

from evalhub_runtime_k8s.settings import Installation
from evalhub_runtime_k8s.sidecarconfig import sidecar_urls
from evalhub_server.errors import StartupError
from evalhub_server.plugins import BenchmarkRun, Exit, Handle, LogOptions, Runtime

NOT_YET = (
    "runtime 'kubernetes' cannot run evaluations in this version yet. "
    "To run adapters as processes of this computer, start with --local."
)


class KubernetesRuntime(Runtime):
    """Refuses to start: the life cycle of Jobs is not written yet."""

    name = "kubernetes"
    provider_key = "k8s"

    def __init__(self, installation: Installation) -> None:
        self.installation = installation
        self.sidecar = sidecar_urls(installation)

    async def check(self) -> None:
        raise StartupError(NOT_YET)

    async def launch(self, run: BenchmarkRun) -> Handle:
        raise StartupError(NOT_YET)

    async def find(self, run: BenchmarkRun) -> Handle | None:
        raise StartupError(NOT_YET)

    async def wait(self, handle: Handle) -> Exit:
        raise StartupError(NOT_YET)

    async def stop(self, handle: Handle, grace_s: float) -> None:
        raise StartupError(NOT_YET)

    def logs(self, handle: Handle, options: LogOptions) -> AsyncIterator[bytes]:
        raise StartupError(NOT_YET)

    async def remove(self, job_id: str, tenant: str) -> None:
        raise StartupError(NOT_YET)
