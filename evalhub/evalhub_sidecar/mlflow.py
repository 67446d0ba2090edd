"""The MLflow tracking server as an upstream."""

from __future__ import annotations

from evalhub_sidecar.config import TOKEN_CACHE, UPSTREAM_TIMEOUT, Mlflow
from evalhub_sidecar.paths import Target
from evalhub_sidecar.tokens import TokenFile
from evalhub_sidecar.upstream import Upstream

PATHS = ("/api/2.0/mlflow", "/api/3.0/mlflow", "/api/2.0/mlflow-artifacts")


def is_mlflow(target: Target) -> bool:
    """Whether the request is one of MLflow's REST API."""
    return any(target.below(path) for path in PATHS)


class Tracker:
    """Address and token of the tracking server."""

    def __init__(self, config: Mlflow) -> None:
        self.upstream = Upstream(
            "MLflow",
            config.tracking_uri,
            timeout_s=UPSTREAM_TIMEOUT if config.http_timeout is None else config.http_timeout,
            ca_file=config.ca_cert_path,
            verify=not config.insecure_skip_verify,
        )
        cache = config.token_cache_timeout
        self._token = TokenFile(config.token_path, TOKEN_CACHE if cache is None else cache)

    def target(self, target: Target) -> str:
        """The request target at the tracking server, which may have a path prefix."""
        return f"{self.upstream.path}{target}"

    async def authorization(self) -> str | None:
        """The header to send; None keeps the client's."""
        return await self._token.authorization()
