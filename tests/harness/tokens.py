"""A token server for a registry, after the specification of the distribution project; issues signed JWTs."""

from __future__ import annotations

import base64
import json
import subprocess
import time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harness.answering import AnsweringServer, Reply, Request
from harness.certificates import certificate
from harness.registry import PASSWORD, USER

ISSUER, SERVICE = "a-token-server", "a-registry"
REFRESH_TOKEN = "a-refresh-token"


class TokenServer(AnsweringServer):
    """The server. :attr:`token_requests` has the requested tokens; only :data:`USER` gets tokens."""

    def __init__(self, folder: Path) -> None:
        super().__init__(self._answer)
        self._crt, self._key = certificate(folder, "token")
        self.token_requests: list[dict[str, str]] = []

    def _answer(self, request: Request) -> Reply:
        text = urlsplit(request.path).query if request.method == "GET" else request.body.decode()
        fields = {name: values[0] for name, values in parse_qs(text).items()}
        self.token_requests.append({"method": request.method, **fields})
        if request.method == "GET":
            basic = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
            known = request.headers.get("authorization") == f"Basic {basic}"
        else:
            known = (fields["grant_type"], fields["refresh_token"]) == ("refresh_token", REFRESH_TOKEN)
        if known:
            return Reply(200, body=json.dumps({"token": self.token(fields["scope"])}).encode())
        return Reply(401, body=b'{"errors": [{"code": "DENIED"}]}')

    @property
    def auth(self) -> dict[str, Any]:
        """The section ``auth`` of a registry that trusts this server."""
        return {
            "token": {
                "realm": f"{self.url}/token",
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(self._crt),
            }
        }

    def token(self, scope: str) -> str:
        """A JWT that grants the scope, signed by ``openssl``."""
        kind, name, actions = scope.split(":")
        now = int(time.time())
        der = subprocess.run(
            ["openssl", "x509", "-in", self._crt, "-outform", "DER"], check=True, capture_output=True
        ).stdout
        header = {"typ": "JWT", "alg": "RS256", "x5c": [base64.b64encode(der).decode()]}
        claims = {
            "iss": ISSUER,
            "aud": SERVICE,
            "sub": USER,
            "iat": now,
            "nbf": now - 10,
            "exp": now + 300,
            "jti": str(time.monotonic_ns()),
            "access": [{"type": kind, "name": name, "actions": actions.split(",")}],
        }
        signed = b".".join(_base64url(json.dumps(part).encode()) for part in (header, claims))
        signature = subprocess.run(
            ["openssl", "dgst", "-sha256", "-sign", self._key], input=signed, check=True, capture_output=True
        ).stdout
        return b".".join((signed, _base64url(signature))).decode()


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
