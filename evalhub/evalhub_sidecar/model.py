"""The model under test as an upstream, and its credentials, which an adapter refers to by name."""

from __future__ import annotations

import re
from collections.abc import Mapping

from evalhub_common.urls import split_http_url
from evalhub_sidecar.config import MODEL_TIMEOUT, Model
from evalhub_sidecar.errors import Refused
from evalhub_sidecar.secret_dir import CA_CERT, read_secret_dir
from evalhub_sidecar.tokens import TokenFile
from evalhub_sidecar.upstream import Upstream

MODEL = "the model"
API_KEY = "api-key"
_REFERENCE = ":ref"
_BEARER = re.compile(r"bearer(?:\s+(?P<token>.*))?", re.IGNORECASE | re.DOTALL)
_PREFIXED = re.compile(r"(?P<prefix>.+)_(?P<kind>api-key|sa_token)")
_CLUSTER_LOCAL = (".svc", ".svc.cluster.local")

NO_CREDENTIALS = ""
"""An ``Authorization`` header that removes the client's."""


def model_upstream(model: Model, secrets: Mapping[str, str] | None = None, url: str = "") -> Upstream:
    """The upstream of a model. Without ``secrets`` it reads the secret directory, which blocks."""
    if secrets is None:
        secrets = read_secret_dir(model.auth_secret_mount_path)
    return Upstream(
        MODEL,
        url or model.url,
        timeout_s=MODEL_TIMEOUT if model.http_timeout is None else model.http_timeout,
        ca_text=secrets.get(CA_CERT, ""),
        verify=not model.insecure_skip_verify,
    )


class ModelProxy:
    """Replaces references to credentials by the credentials, each for its own host only.

    The adapter sends ``Authorization: Bearer <key>:ref``, where ``<key>`` is a file of the secret directory:
    ``api-key`` for the job's model, ``<prefix>_api-key`` and ``<prefix>_sa_token`` for the one at ``<prefix>_url``.
    """

    def __init__(self, model: Model, secrets: Mapping[str, str], service_token: TokenFile) -> None:
        self._model = model
        self._secrets = secrets
        self._service_token = service_token
        self._default = model_upstream(model, secrets)
        self._others: dict[str, Upstream] = {}

    async def route(self, authorization: str | None) -> tuple[Upstream, str | None]:
        """The upstream of a request with this ``Authorization`` header, and the header to send; None keeps it.

        Raises :class:`Refused`, 400, for a reference to a missing credential.
        """
        match = _BEARER.fullmatch((authorization or "bearer").strip())
        if match is None:
            return self._default, None
        token = (match["token"] or "").strip()
        if token.endswith(_REFERENCE):
            return await self._resolve(token.removesuffix(_REFERENCE))
        if token:
            return self._default, None
        service_token = await self._service_token.token() if self._trusted(self._default) else ""
        if service_token:
            return self._default, f"Bearer {service_token}"
        return self._default, None if self._default.basic and authorization is None else NO_CREDENTIALS

    async def _resolve(self, key: str) -> tuple[Upstream, str]:
        match = _PREFIXED.fullmatch(key)
        if key not in self._secrets or (key != API_KEY and match is None):
            raise _bad_reference(f"the model's secret has no credential '{key}'")
        credential = self._secrets[key]
        if match is None:
            upstream = self._default
        else:
            upstream = self._other(match["prefix"])
            if not credential and match["kind"] == "sa_token":
                credential = await self._service_token.token()
        if not credential:
            raise _bad_reference(f"the credential '{key}' of the model's secret is empty")
        return upstream, f"Bearer {credential}"

    def _other(self, prefix: str) -> Upstream:
        upstream = self._others.get(prefix)
        if upstream is None:
            url = self._secrets.get(f"{prefix}_url", "")
            if split_http_url(url) is None:
                # No fallback to the job's own model, which must not get the key of another.
                raise _bad_reference(f"the model's secret has no http or https address '{prefix}_url'")
            upstream = self._others[prefix] = model_upstream(self._model, self._secrets, url)
        return upstream

    def _trusted(self, upstream: Upstream) -> bool:
        """Whether the pod's own token may be sent there: always without a list of hosts, as in the released server."""
        hosts = self._model.sa_token_hosts
        if hosts is None or upstream.host.endswith(_CLUSTER_LOCAL):
            return True
        return upstream.secure and upstream.host in {host.lower() for host in hosts}


def _bad_reference(problem: str) -> Refused:
    return Refused(
        400, "invalid_credential_reference", f"The request cannot be sent to the model: {problem}."
    )
