"""Commands that clients put into providers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from evalhub_server.domain.remote_commands import check_commands_allowed
from evalhub_server.domain.resource_requests import read_provider
from evalhub_server.errors import ApiError
from evalhub_server.models.provider import ProviderConfig

COMMAND = {"local": {"command": "id"}}
NEITHER: list[Any] = [{}, {"local": None}, {"local": {}}, {"k8s": {"image": "x", "entrypoint": ["id"]}}]


def provider(runtime: Any) -> ProviderConfig:
    return read_provider(json.dumps({"name": "p", "runtime": runtime, "benchmarks": []}).encode())


@pytest.mark.parametrize(
    "runtime",
    [
        COMMAND,
        {"LOCAL": {"Command": "id"}},
        {"k8s": {"image": "x"}, "Local": {"command": "id"}},
        {"local": {"env": [{"name": "BASH_ENV", "value": "/tmp/x"}]}},
        {"local": {"command": "", "anything": 1}},
    ],
)
def test_whatever_the_local_runtime_would_read_is_refused(runtime: Any):
    config = provider(runtime)
    check_commands_allowed(config, allowed=True)
    with pytest.raises(ApiError) as caught:
        check_commands_allowed(config, allowed=False)
    assert (caught.value.status, caught.value.code) == (403, "remote_commands_not_allowed")
    assert "local.allow_remote_commands" in caught.value.message


@pytest.mark.parametrize("runtime", NEITHER)
def test_what_runs_nothing_here_is_accepted(runtime: Any):
    check_commands_allowed(provider(runtime), allowed=False)


def test_what_is_stored_already_may_stay_as_it_is():
    stored = provider(COMMAND)
    check_commands_allowed(provider(COMMAND), allowed=False, stored=stored)
    for other in ({"local": {"command": "id; id"}}, {"local": {"command": "id", "env": [{"name": "A"}]}}):
        with pytest.raises(ApiError):
            check_commands_allowed(provider(other), allowed=False, stored=stored)
    with pytest.raises(ApiError):
        check_commands_allowed(stored, allowed=False, stored=provider({}))
