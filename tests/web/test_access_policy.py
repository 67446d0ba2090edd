"""Access control that depends on the listening address: exposure, and commands of clients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evalhub_server.settings import PluginSettings, ServiceSettings, Settings
from evalhub_server.web.access_policy import commands_allowed, is_exposed

HERE = ["", "localhost", "127.0.0.1", "127.0.0.2", "::1", "[::1]", "LocalHost"]
REACHABLE = ["0.0.0.0", "::", "[::]", "192.168.1.5", "box", "box.example.org", "localhost.example.org"]


def settings(host: str, *, local: bool = True, runtime: str = "", section: Any = None) -> Settings:
    return Settings(
        local=local,
        config_file=Path("nowhere"),
        service=ServiceSettings(host=host),
        plugins=PluginSettings(runtime=runtime),
        sections={"local": section},
    )


@pytest.mark.parametrize("host", HERE)
def test_on_loopback_commands_are_allowed(host: str):
    assert not is_exposed(settings(host))
    assert commands_allowed(settings(host))


@pytest.mark.parametrize("host", REACHABLE)
@pytest.mark.parametrize(
    "section",
    [
        None,
        {},
        {"allow_remote_commands": False},
        {"allow_remote_commands": None},
    ],
)
def test_on_other_addresses_commands_are_not_allowed(host: str, section: Any):
    assert is_exposed(settings(host))
    assert not commands_allowed(settings(host, section=section))


@pytest.mark.parametrize("value", [True, "true", 1])
def test_the_configuration_can_allow_commands(value: object):
    assert commands_allowed(settings("0.0.0.0", section={"allow_remote_commands": value}))


def test_keys_match_in_any_case():
    known = settings("0.0.0.0")
    assert commands_allowed(replace(known, sections={"Local": {"Allow_Remote_Commands": True}}))


def test_commands_matter_only_if_adapters_run_on_this_computer():
    assert commands_allowed(settings("0.0.0.0", local=False))
    assert not commands_allowed(settings("0.0.0.0", local=False, runtime="local"))
    assert not commands_allowed(settings("0.0.0.0", local=True, runtime="third-party"))
