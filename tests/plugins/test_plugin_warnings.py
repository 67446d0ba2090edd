"""What authors of plugins should change is reported with their distribution; the plugins work nevertheless."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import msgspec
import pytest

import evalhub_server.plugins as api
from evalhub_server.plugins import (
    Exit,
    Handle,
    PluginContext,
    PluginDeprecationWarning,
    Runtime,
    deprecations,
    descriptors,
    imports,
)
from evalhub_server.plugins.deprecations import Renamed
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.plugins.manager import Plugins
from harness import Config
from harness.site import Site

PLUGIN = """
from evalhub_server.plugins import Descriptor, NoSettings, hookimpl

def make(settings, context):
    from evalhub_server.testing import EchoRuntime
    return EchoRuntime()

@hookimpl
def evalhub_runtimes():
    return [Descriptor(api=1, name="echo", factory=make, settings=NoSettings)]
"""
CONTEXT = PluginContext(callback_url="http://127.0.0.1:1")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path / "site")
    monkeypatch.syspath_prepend(site.folder)
    return site


def warnings_of(plugins: Plugins, distribution: str) -> list[str]:
    return [text for name, text in plugins.warnings if name == distribution]


def test_a_plugin_that_prints_or_warns_at_import_is_named(site: Site, capsys: pytest.CaptureFixture[str]):
    noise = "import sys, warnings\nprint('one')\nprint('two', file=sys.stderr)\nwarnings.warn('three')\n"
    site.install("warns-noisy", noise + PLUGIN)
    with warnings.catch_warnings():
        warnings.simplefilter("default")  # as in a server; pytest makes them errors
        plugins = load_plugins(environ={})
    assert warnings_of(plugins, "warns-noisy") == [
        "its plugin printed while it was imported: 'one two'",
        "its plugin warned while it was imported: 'UserWarning: three'",
    ]
    # Programs read the standard output of commands.
    assert capsys.readouterr() == ("", "one\ntwo\n")


def test_only_the_beginning_of_what_it_prints_is_shown(site: Site):
    site.install("warns-much", "print('x' * 1000)\nprint('y')\n" + PLUGIN)
    (text,) = warnings_of(load_plugins(environ={}), "warns-much")
    assert text.endswith(f": '{'x' * imports.SHOWN_CHARACTERS}…'")


def test_a_log_handler_that_an_import_creates_works_later(site: Site, capsys: pytest.CaptureFixture[str]):
    handler = "import logging\nlogging.getLogger('warns-handler').addHandler(logging.StreamHandler())\n"
    site.install("warns-handler", handler + PLUGIN)
    assert warnings_of(load_plugins(environ={}), "warns-handler") == []
    logging.getLogger("warns-handler").error("later")
    assert "later" in capsys.readouterr().err


def test_a_plugin_whose_import_is_slow_is_named(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(imports, "SLOW_S", 0.0)
    site.install("warns-slow", PLUGIN)
    (text,) = warnings_of(load_plugins(environ={}), "warns-slow")
    assert text.startswith("importing its plugin took 0.")


def test_an_old_plugin_api_that_is_still_accepted_is_a_warning(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(descriptors, "PLUGIN_API", 2)
    site.install("warns-old", PLUGIN)
    plugins = load_plugins(environ={})
    (text,) = warnings_of(plugins, "warns-old")
    assert text.startswith("the runtime 'echo' is written for plugin API 1; this server has 2,")
    assert isinstance(plugins.create(Runtime, "echo", {}, CONTEXT), Runtime)


def test_an_old_name_of_the_api_works_with_a_warning(site: Site, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(deprecations.RENAMED, "OldExit", Renamed("Exit", "2.0"))
    text = "OldExit is now Exit; version 2.0 does not have OldExit"
    with pytest.warns(PluginDeprecationWarning, match=text) as caught:
        assert getattr(api, "OldExit") is Exit  # noqa: B009  no type checker knows it
    assert caught[0].filename == __file__
    with pytest.raises(AttributeError, match="OldExits"):
        getattr(api, "OldExits")  # noqa: B009
    site.install("warns-name", "from evalhub_server.plugins import OldExit\n" + PLUGIN)
    assert warnings_of(load_plugins(environ={}), "warns-name") == [
        f"its plugin uses what will be removed: {text}"
    ]


OLD_METHOD = """
from evalhub_server.plugins import Descriptor, NoSettings, hookimpl
from evalhub_server.testing import EchoRuntime

class Old(EchoRuntime):
    async def seconds(self, handle):
        return 7.0

@hookimpl
def evalhub_runtimes():
    return [Descriptor(api=1, name="echo", factory=lambda settings, context: Old(), settings=NoSettings)]
"""


async def test_a_method_with_an_old_name_is_called_under_the_present_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(deprecations.RENAMED_METHODS, "runtime", {"seconds": Renamed("age_s", "2.0")})
    site.install("warns-method", OLD_METHOD)
    plugins = load_plugins(environ={})
    with pytest.warns(PluginDeprecationWarning, match=r"Old\.seconds is now age_s"):
        runtime = plugins.create(Runtime, "echo", {}, CONTEXT)
    handle: Handle = {}
    assert await runtime.age_s(handle) == 7.0
    (text,) = warnings_of(plugins, "warns-method")
    assert text == (
        "its runtime 'echo' uses what will be removed: "
        "Old.seconds is now age_s; version 2.0 does not call seconds"
    )


def test_the_commands_report_them(tmp_path: Path):
    site = Site(tmp_path / "site")
    site.install("warns-command", "print('hello')\n" + PLUGIN)
    config = Config(tmp_path / "config")
    config.scripted("completed")

    def run(*arguments: str) -> str:
        env = {**os.environ, "PYTHONPATH": str(site.folder)}
        command = [sys.executable, "-m", "evalhub_server", *arguments]
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    text = "its plugin printed while it was imported: 'hello'"
    assert f"warning: warns-command: {text}" in run("check", "--local", "--configdir", str(config.folder))
    assert f"  warning      {text}\n" in run("plugins", "echo")
    listed: list[dict[str, Any]] = msgspec.json.decode(run("plugins", "--json"))
    assert {tuple(each.get("warnings", ())) for each in listed} == {(), (text,)}
