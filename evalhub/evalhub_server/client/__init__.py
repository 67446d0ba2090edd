"""Synchronous client of the REST API, on the standard library.

::

    from evalhub_server.client import Client, jobs_df

    client = Client("http://localhost:8080")
    job = client.jobs.create({
        "name": "first",
        "model": {"name": "llama3.2:3b", "url": "http://localhost:11434/v1"},
        "benchmarks": [{"provider_id": "quickstart", "id": "arithmetic"}],
    })
    job = client.jobs.wait(job["resource"]["id"])
    print(jobs_df(client.jobs.iterate(model_name="llama3.2:3b")))
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Self
from urllib.parse import urlencode

import msgspec

from evalhub_server.client.catalogue import Catalogue
from evalhub_server.client.errors import (
    ClientError,
    InvalidServerUrl,
    NotAuthorized,
    ResourceNotFound,
    ResponseError,
    Unreachable,
    Unsupported,
)
from evalhub_server.client.event_stream import StreamEvent
from evalhub_server.client.frames import jobs_df, samples_df
from evalhub_server.client.jobs import Jobs
from evalhub_server.client.resources import Collection, Job, Page, Provider
from evalhub_server.client.results import API, Baselines, Results, Samples
from evalhub_server.client.transport import Transport, decode

__all__ = [
    "Client",
    "ClientError",
    "Collection",
    "InvalidServerUrl",
    "Job",
    "NotAuthorized",
    "Page",
    "Provider",
    "ResourceNotFound",
    "ResponseError",
    "StreamEvent",
    "Unreachable",
    "Unsupported",
    "jobs_df",
    "samples_df",
]


class Client(Results):
    """Client of one server. Safe to use from several threads; there is nothing to close.

    ``url`` is the address of the server without ``/api/v1``, ``token`` a bearer token, ``tenant`` the value of
    ``X-Tenant``. A call fails after ``timeout_s`` without any byte from the server.

    Raises:
        InvalidServerUrl: ``url`` is not an http or https URL.
    """

    def __init__(
        self, url: str, *, token: str | None = None, tenant: str | None = None, timeout_s: float = 30.0
    ) -> None:
        transport = Transport(url, token, tenant, timeout_s)
        super().__init__(transport)
        self.url = transport.url
        self._has_token = token is not None
        self.jobs = Jobs(transport)
        self.samples = Samples(transport)
        self.baselines = Baselines(transport)
        self.providers = Catalogue[Provider](transport, f"{API}/providers")
        self.collections = Catalogue[Collection](transport, f"{API}/collections")

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """A client for ``EVALHUB_BASE_URL`` (default: http://localhost:8080), ``EVALHUB_TOKEN`` and ``EVALHUB_TENANT``."""
        environ = os.environ if environ is None else environ
        return cls(
            environ.get("EVALHUB_BASE_URL") or "http://localhost:8080",
            token=environ.get("EVALHUB_TOKEN", "").strip() or None,
            tenant=environ.get("EVALHUB_TENANT", "").strip() or None,
        )

    def pages_url(self) -> str:
        """The address of the server's pages for a browser. With a token, it logs in one browser within a minute.

        Raises :class:`Unsupported` if the server has no pages.
        """
        if self._has_token:
            return self.url + decode(self._transport.request("POST", "/ui/links").body)["path"]
        self._transport.request("GET", "/ui/jobs.json", {"size": 50})
        return f"{self.url}/ui/jobs"

    def saved_page(self, path: str, query: Sequence[tuple[str, str]] = ()) -> str:
        """A page of the server, such as ``/ui/jobs/ID``, as HTML in one file."""
        suffix = f".html?{urlencode(query)}" if query else ".html"
        return (self._transport.request("GET", path + suffix).body or b"").decode()

    def is_healthy(self) -> bool:
        """Whether an EvalHub server answers."""
        try:
            health = msgspec.convert(decode(self._transport.request("GET", "/api/v1/health").body), _Health)
        except (ClientError, msgspec.ValidationError):
            return False
        return health.status == "healthy"


class _Health(msgspec.Struct, frozen=True):
    status: str
