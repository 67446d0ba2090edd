"""A few REST calls for the demo, on the standard library."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any

from evalhub_server.errors import EvalHubError

# The server is on this computer: no proxy that the environment names knows the way.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
JOBS = "/api/v1/evaluations/jobs"


class RequestFailed(EvalHubError):
    """The server answered with an error; the text is its ``message``."""


class RestClient:
    """Blocking calls to one server."""

    def __init__(self, url: str, timeout_s: float = 30.0) -> None:
        self._url = url
        self._timeout_s = timeout_s

    def submit(self, request: dict[str, Any]) -> dict[str, Any]:
        return self._call("POST", JOBS, request)

    def job(self, job_id: str) -> dict[str, Any]:
        return self._call("GET", f"{JOBS}/{job_id}")

    def provider(self, provider_id: str) -> dict[str, Any]:
        return self._call("GET", f"/api/v1/evaluations/providers/{provider_id}")

    def cancel(self, job_id: str) -> None:
        self._call("DELETE", f"{JOBS}/{job_id}")

    def _call(self, method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self._url + path, data, method=method)  # noqa: S310  our own http URL
        try:
            with _DIRECT.open(request, timeout=self._timeout_s) as answer:
                text = answer.read()
        except urllib.error.HTTPError as error:
            with error:
                raise RequestFailed(_message(error.read()) or str(error)) from None
        except OSError as error:
            raise RequestFailed(f"{self._url} does not answer: {error}") from None
        return json.loads(text) if text else {}


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, LookupError, TypeError):
        return body.decode("utf-8", "replace").strip()
