"""Shared steps of the tests of providers and collections over HTTP."""

from __future__ import annotations

from typing import Any, NamedTuple

from harness import RunningServer


def as_tenant(tenant: str, user: str = "") -> dict[str, str]:
    headers = {"X-Tenant": tenant, "X-User": user}
    return {name: value for name, value in headers.items() if value}


class Resources(NamedTuple):
    """Those of one kind, at ``path``. ``least`` is the smallest config that is accepted."""

    path: str
    least: dict[str, Any]

    def config_of(self, **fields: Any) -> dict[str, Any]:
        return {**self.least, **fields}

    def create(self, server: RunningServer, tenant: str = "", **fields: Any) -> dict[str, Any]:
        answer = server.call("POST", self.path, self.config_of(**fields), as_tenant(tenant))
        assert answer.status == 201, answer
        return answer.body

    def one(self, resource: dict[str, Any]) -> str:
        """The path of a resource that was answered."""
        return f"{self.path}/{resource['resource']['id']}"

    def names(self, server: RunningServer, query: str = "", tenant: str = "") -> list[str]:
        answer = server.call("GET", f"{self.path}?{query}", headers=as_tenant(tenant))
        assert answer.status == 200, answer
        return [item["name"] for item in answer.body["items"]]
