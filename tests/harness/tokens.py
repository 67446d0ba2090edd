"""A token server for a registry, as the distribution project specifies it: it hands out signed JWTs."""

from __future__ import annotations

import base64
import json
import subprocess
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from harness.registry import PASSWORD, USER

ISSUER, SERVICE = "a-token-server", "a-registry"
REFRESH_TOKEN = "a-refresh-token"


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1, and its key, made by the program ``openssl``."""
    folder.mkdir(parents=True, exist_ok=True)
    crt, key = folder / f"{name}.crt", folder / f"{name}.key"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=localhost",
    ]
    command += ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out", str(crt)]
    subprocess.run(command, check=True, capture_output=True)
    return crt, key


class TokenServer:
    """A context manager. :attr:`asked` has what clients asked for; only :data:`USER` gets tokens."""

    def __init__(self, folder: Path) -> None:
        self._crt, self._key = certificate(folder, "token")
        self.asked: list[dict[str, Any]] = []
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                query = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
                known = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
                self.answer(query, self.headers.get("Authorization") == f"Basic {known}")

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: values[0] for name, values in parse_qs(body).items()}
                known = form.get("grant_type") == "refresh_token" and form["refresh_token"] == REFRESH_TOKEN
                self.answer(form, known)

            def answer(self, asked: dict[str, str], known: bool) -> None:
                server.asked.append({"method": self.command, **asked})
                document = (
                    {"token": server.token(asked["scope"])} if known else {"errors": [{"code": "DENIED"}]}
                )
                body = json.dumps(document).encode()
                self.send_response(200 if known else 401)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_port}/token"
        self._thread = threading.Thread(target=self._http.serve_forever, name="token-server")

    @property
    def auth(self) -> dict[str, Any]:
        """The section ``auth`` of a registry that trusts this server."""
        return {
            "token": {
                "realm": self.url,
                "service": SERVICE,
                "issuer": ISSUER,
                "rootcertbundle": str(self._crt),
            }
        }

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

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
