"""Random sequences of requests, compared with a model of the expected state."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from harness import Config, RunningServer
from harness.server import API, TERMINAL, Answer

MODEL = {"url": "http://model.test/v1", "name": "m"}
COMMAND = "sleep 6000 # until the test ends it"
RUNTIME = {"local": {"command": COMMAND}}
TENANTS = st.sampled_from(["red", "blue"])
NAMES = st.text("abc é", min_size=1, max_size=8)
TAGS = st.lists(st.sampled_from(["x", "y", "z"]), max_size=3)
STATUSES = st.sampled_from(["pending", "running", "completed", "failed"])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("machine"), local={"max_parallel": 1000})
    config.provider(COMMAND, "b")
    with RunningServer(config.folder) as running:
        yield running


class Client(RuleBasedStateMachine):
    """Two tenants, each with providers, collections and jobs of its own.

    ``kept`` has what the server said last of each resource, by kind and id; ``reported`` the benchmarks' states.
    """

    server: RunningServer
    providers = Bundle("providers")
    collections = Bundle("collections")
    jobs = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.kept: dict[tuple[str, str], dict[str, Any]] = {}
        self.reported: dict[str, list[str]] = {}

    @initialize()
    def empty(self) -> None:
        for tenant in ("red", "blue"):
            for kind in ("jobs", "collections?scope=tenant", "providers?scope=tenant"):
                for item in self.call(tenant, "GET", kind).body["items"]:
                    path = f"{kind.partition('?')[0]}/{item['resource']['id']}"
                    assert self.call(tenant, "DELETE", f"{path}?hard_delete=true").status == 204

    def call(self, tenant: str, method: str, path: str, body: Any = None) -> Answer:
        answer = self.server.call(method, f"{API}/{path}", body, {"X-Tenant": tenant, "X-User": "u"})
        assert answer.status < 500, answer
        return answer

    def note(self, kind: str, answer: Answer, status: int) -> tuple[str, str]:
        assert answer.status == status, answer
        info = answer.body["resource"]
        self.kept[kind, info["id"]] = answer.body
        return info["tenant"], info["id"]

    # --- providers

    @rule(target=providers, tenant=TENANTS, name=NAMES, tags=TAGS)
    def create_provider(self, tenant: str, name: str, tags: list[str]):
        benchmarks = [{"id": "b", "domains": tags}]
        body = {"name": name, "tags": tags, "benchmarks": benchmarks, "runtime": RUNTIME}
        return self.note("providers", self.call(tenant, "POST", "providers", body), 201)

    @rule(provider=providers, tags=TAGS)
    def change_provider(self, provider: tuple[str, str], tags: list[str]) -> None:
        tenant, key = provider
        patch = {"tags": tags, "benchmarks": [{"id": "b", "domains": tags}]}
        answer = self.call(tenant, "PATCH", f"providers/{key}", patch)
        self.note("providers", answer, 200)
        assert answer.body.get("tags", []) == tags

    @rule(provider=providers, name=NAMES)
    def replace_provider(self, provider: tuple[str, str], name: str) -> None:
        tenant, key = provider
        body = {"name": name, "benchmarks": [{"id": "b"}], "runtime": RUNTIME}
        self.note("providers", self.call(tenant, "PUT", f"providers/{key}", body), 200)

    @rule(provider=consumes(providers))
    def delete_provider(self, provider: tuple[str, str]) -> None:
        tenant, key = provider
        assert self.call(tenant, "DELETE", f"providers/{key}").status == 204
        del self.kept["providers", key]

    # --- collections

    @rule(target=collections, provider=providers, name=NAMES, weight=st.floats(0, 10))
    def create_collection(self, provider: tuple[str, str], name: str, weight: float):
        tenant, key = provider
        body = {
            "name": name,
            "category": "c",
            "benchmarks": [{"id": "b", "provider_id": key, "weight": weight}],
        }
        return self.note("collections", self.call(tenant, "POST", "collections", body), 201)

    @rule(target=collections, collection=collections)
    def clone(self, collection: tuple[str, str]):
        tenant, key = collection
        answer = self.call(tenant, "POST", f"collections/{key}/clones")
        assert answer.body["derived_from"] == key
        return self.note("collections", answer, 201)

    @rule(collection=collections, order=st.integers(-1, 3))
    def pin(self, collection: tuple[str, str], order: int) -> None:
        tenant, key = collection
        patch = [{"op": "replace", "path": "/pinned_order", "value": order}]
        answer = self.call(tenant, "PATCH", f"collections/{key}", patch)
        if order < 0:
            assert answer.body["message_code"] == "request_validation_failed"
        else:
            self.note("collections", answer, 200)
            assert answer.body.get("pinned_order", 0) == order

    @rule(collection=consumes(collections))
    def delete_collection(self, collection: tuple[str, str]) -> None:
        tenant, key = collection
        assert self.call(tenant, "DELETE", f"collections/{key}").status == 204
        del self.kept["collections", key]

    # --- jobs

    @rule(target=jobs, collection=collections)
    def run_collection(self, collection: tuple[str, str]):
        tenant, key = collection
        body = {"name": "j", "model": MODEL, "collection": {"id": key}}
        answer = self.call(tenant, "POST", "jobs", body)
        provider = self.kept["collections", key]["benchmarks"][0]["provider_id"]
        if ("providers", provider) not in self.kept:
            assert answer.body["message_code"] == "resource_not_found"
            return multiple()
        runs = self.kept["collections", key].setdefault("status", {})
        runs["run_count"] = runs.get("run_count", 0) + 1
        self.reported[answer.body["resource"]["id"]] = ["pending"]
        return self.note("jobs", answer, 202)

    @rule(target=jobs, tenant=TENANTS, count=st.integers(1, 3))
    def run_benchmarks(self, tenant: str, count: int):
        benchmarks = [{"id": "b", "provider_id": "scripted"}] * count
        answer = self.call(tenant, "POST", "jobs", {"name": "j", "model": MODEL, "benchmarks": benchmarks})
        self.reported[answer.body["resource"]["id"]] = ["pending"] * count
        return self.note("jobs", answer, 202)

    @rule(job=jobs, index=st.integers(0, 3), status=STATUSES)
    def report(self, job: tuple[str, str], index: int, status: str) -> None:
        tenant, key = job
        states = self.reported[key]
        provider = self.kept["jobs", key].get("benchmarks")
        if provider is None:
            return  # the reference names no provider; run_benchmarks covers events
        event = {"provider_id": "scripted", "id": "b", "benchmark_index": index, "status": status}
        answer = self.call(tenant, "POST", f"jobs/{key}/events", {"benchmark_status_event": event})
        if index >= len(states):
            assert answer.status == 404 or (answer.status == 409 and self.closed(key)), answer
        elif states[index] == status and status in TERMINAL:
            assert answer.status == 204, "an identical repeat is a success"
        elif self.closed(key) or (states[index] in TERMINAL and status in TERMINAL):
            assert answer.status == 409, answer
        else:
            assert answer.status == 204, answer
            if states[index] not in TERMINAL and (states[index], status) != ("running", "pending"):
                states[index] = status

    @rule(job=jobs)
    def cancel(self, job: tuple[str, str]) -> None:
        tenant, key = job
        answer = self.call(tenant, "DELETE", f"jobs/{key}")
        if self.closed(key) and "cancelled" not in self.reported[key]:
            assert answer.status == 409, answer
        else:
            assert answer.status == 204, answer
            self.reported[key] = [s if s in TERMINAL else "cancelled" for s in self.reported[key]]

    @rule(job=consumes(jobs))
    def delete_job(self, job: tuple[str, str]) -> None:
        tenant, key = job
        assert self.call(tenant, "DELETE", f"jobs/{key}?hard_delete=true").status == 204
        assert self.call(tenant, "GET", f"jobs/{key}").status == 404
        del self.kept["jobs", key], self.reported[key]

    def closed(self, key: str) -> bool:
        return all(state in TERMINAL for state in self.reported[key])

    # --- what holds after every step

    @invariant()
    def everything_is_as_it_was_said_to_be(self) -> None:
        for (kind, key), known in self.kept.items():
            tenant = known["resource"]["tenant"]
            answer = self.call(tenant, "GET", f"{kind}/{key}")
            assert answer.status == 200, answer
            if kind == "jobs":
                assert [b["status"] for b in answer.body["status"]["benchmarks"]] == self.reported[key]
            else:
                assert self.own(kind, answer.body) == self.own(kind, known)
            other = "blue" if tenant == "red" else "red"
            assert self.call(other, "GET", f"{kind}/{key}").status == 404

    @staticmethod
    def own(kind: str, document: dict[str, Any]) -> dict[str, Any]:
        """The resource without the fields that depend on providers or on runs."""
        if kind == "providers":
            return document
        shown = {key: value for key, value in document.items() if key != "domains"}
        return shown | {"status": document.get("status") or {}}

    @invariant()
    def lists_have_it_all_pinned_and_newest_first(self) -> None:
        for tenant in ("red", "blue"):
            for kind in ("jobs", "providers", "collections"):
                scope = "" if kind == "jobs" else "&scope=tenant"
                items = self.call(tenant, "GET", f"{kind}?limit=1000{scope}").body["items"]
                mine = {
                    k for (of, k), d in self.kept.items() if of == kind and d["resource"]["tenant"] == tenant
                }
                assert {item["resource"]["id"] for item in items} == mine
                newest_first = sorted(items, key=lambda item: item["resource"]["created_at"], reverse=True)
                assert items == sorted(newest_first, key=lambda item: item.get("pinned_order") or math.inf)

    @invariant()
    def collections_are_found_by_what_their_providers_say(self) -> None:
        for tenant in ("red", "blue"):
            found = self.call(tenant, "GET", "collections?domains=x&scope=tenant").body["items"]
            expected = {
                key
                for (kind, key), known in self.kept.items()
                if kind == "collections"
                and known["resource"]["tenant"] == tenant
                and "x" in self.domains(known["benchmarks"][0]["provider_id"])
            }
            assert {item["resource"]["id"] for item in found} == expected

    def domains(self, provider: str) -> list[str]:
        known = self.kept.get(("providers", provider), {"benchmarks": [{}]})
        return known["benchmarks"][0].get("domains", [])


def test_any_order_of_requests_leaves_the_expected_state(server: RunningServer):
    Client.server = server
    checks = settings(
        max_examples=settings.default.max_examples // 10,
        stateful_step_count=25,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(Client, settings=checks)
