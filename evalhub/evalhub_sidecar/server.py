"""The EvalHub server as an upstream."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import urlsplit

from evalhub_common.http_auth import userinfo_auth
from evalhub_common.urls import without_userinfo
from evalhub_sidecar.config import UPSTREAM_TIMEOUT, EvalHub
from evalhub_sidecar.paths import Target
from evalhub_sidecar.tokens import TokenFile
from evalhub_sidecar.upstream import Upstream

EVALUATIONS = "/api/v1/evaluations"
SERVER = "the EvalHub server"
_CALLBACK = re.compile(
    rf"/callback/[^/]+{EVALUATIONS}/jobs/[^/]+/(?:events|benchmarks/[0-9]+/(?:samples|artifacts))"
)


class Server:
    """Address of the server, and the sidecar's credentials for it."""

    def __init__(
        self, config: EvalHub, environ: Mapping[str, str], service_token: TokenFile | None = None
    ) -> None:
        """The environment variables of the released sidecar apply where the configuration has no value.

        ``service_token`` is the pod's. Without it, on a workstation, every program of the computer can reach the sidecar:
        the credentials of the configuration are for the sidecar's own requests only, and clients send their own.
        """
        skip = environ.get("EVALHUB_INSECURE_SKIP_VERIFY", "").lower() in ("1", "t", "true")
        self.upstream = Upstream(
            SERVER,
            config.base_url if service_token else _without_userinfo(config.base_url),
            timeout_s=UPSTREAM_TIMEOUT if config.http_timeout is None else config.http_timeout,
            ca_file=config.ca_cert_path or environ.get("EVALHUB_CA_CERT_PATH", ""),
            verify=not (config.insecure_skip_verify or skip),
        )
        self._own = f"Bearer {config.token}" if config.token else userinfo_auth(urlsplit(config.base_url))
        self._token = config.token
        self._service_token = service_token

    def serves(self, target: Target) -> bool:
        """Whether the request is one of the REST API, or an event or upload for a job's own callback URL."""
        return target.path.startswith(f"{EVALUATIONS}/") or bool(_CALLBACK.fullmatch(target.path))

    def target(self, target: Target | str) -> str:
        """The request target at the server, which may have a path prefix."""
        return f"{self.upstream.path}{target}"

    async def authorization(self) -> str | None:
        """The header of a forwarded request; None keeps the client's."""
        if self._service_token is None:
            return None
        return f"Bearer {self._token}" if self._token else await self._service_token.authorization()

    @property
    def own_authorization(self) -> str:
        """The header of the sidecar's own requests on a workstation, or empty."""
        return self._own

    def forget_credentials(self) -> bool:
        """Read the token again for the next request, because this one was refused; False if there is none to read."""
        if self._service_token is None:
            return False
        self._service_token.forget()
        return True


def _without_userinfo(url: str) -> str:
    return without_userinfo(urlsplit(url)).geturl()
