"""The EvalHub server, as requests reach it."""

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
    """Its address, and what makes it trust the sidecar."""

    def __init__(
        self, config: EvalHub, environ: Mapping[str, str], service_token: TokenFile | None = None
    ) -> None:
        """The variables are the released server's; they matter where the configuration says nothing."""
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
        """Is this a request of the REST API, or a report at a job's own callback address?"""
        return target.path.startswith(f"{EVALUATIONS}/") or bool(_CALLBACK.fullmatch(target.path))

    def target(self, target: Target | str) -> str:
        """The request target at the server, which may have its API below a path."""
        return f"{self.upstream.path}{target}"

    async def authorization(self) -> str | None:
        """The header that the server wants, or None for the client's own."""
        if self._token:
            return f"Bearer {self._token}"
        return await self._service_token.authorization() if self._service_token else None

    def refused(self) -> None:
        """The server did not accept the credentials; read them anew."""
        if self._service_token:
            self._service_token.forget()
