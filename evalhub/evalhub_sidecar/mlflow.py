"""The tracking server, as adapters reach it."""

from __future__ import annotations

from evalhub_sidecar.config import TOKEN_CACHE, UPSTREAM_TIMEOUT, Mlflow
from evalhub_sidecar.paths import Target
from evalhub_sidecar.tokens import TokenFile
from evalhub_sidecar.upstream import Upstream

PATHS = ("/api/2.0/mlflow", "/api/3.0/mlflow", "/api/2.0/mlflow-artifacts")


def is_mlflow(target: Target) -> bool:
    """Is this a request of MLflow's REST API?"""
    return any(target.below(path) for path in PATHS)


class Tracker:
    """Its address, and the token that it wants."""

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
        """The request target there: the tracking server may be below a path."""
        return f"{self.upstream.path}{target}"

    async def authorization(self) -> str | None:
        """None for the client's own."""
        return await self._token.authorization()
