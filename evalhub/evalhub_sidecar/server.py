"""The EvalHub server as an upstream."""

from __future__ import annotations

import re
from collections.abc import Mapping

from evalhub_sidecar.config import UPSTREAM_TIMEOUT, EvalHub
from evalhub_sidecar.paths import Target
from evalhub_sidecar.tokens import TokenFile
from evalhub_sidecar.upstream import Upstream

EVALUATIONS = "/api/v1/evaluations"
SERVER = "the EvalHub server"
_CALLBACK = re.compile(rf"/callback/[^/]+{EVALUATIONS}/jobs/[^/]+/events")


class Server:
    """Address of the server, and the sidecar's credentials for it."""

    def __init__(
        self, config: EvalHub, environ: Mapping[str, str], service_token: TokenFile | None = None
    ) -> None:
        """The environment variables of the released sidecar apply where the configuration has no value."""
        skip = environ.get("EVALHUB_INSECURE_SKIP_VERIFY", "").lower() in ("1", "t", "true")
        self.upstream = Upstream(
            SERVER,
            config.base_url,
            timeout_s=UPSTREAM_TIMEOUT if config.http_timeout is None else config.http_timeout,
            ca_file=config.ca_cert_path or environ.get("EVALHUB_CA_CERT_PATH", ""),
            verify=not (config.insecure_skip_verify or skip),
        )
        self._token = config.token
        self._service_token = service_token

    def serves(self, target: Target) -> bool:
        """Whether the request is one of the REST API, or an event for a job's own callback URL."""
        return target.path.startswith(f"{EVALUATIONS}/") or bool(_CALLBACK.fullmatch(target.path))

    def target(self, target: Target | str) -> str:
        """The request target at the server, which may have a path prefix."""
        return f"{self.upstream.path}{target}"

    async def authorization(self) -> str | None:
        """The header to send; None keeps the client's."""
        if self._token:
            return f"Bearer {self._token}"
        return await self._service_token.authorization() if self._service_token else None

    def forget_credentials(self) -> None:
        """Read the token again for the next request, because this one was refused."""
        if self._service_token:
            self._service_token.forget()
