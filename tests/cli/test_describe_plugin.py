"""``eval-hub-server plugins NAME``: what is known about one plugin."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalhub_server.cli.main import main
from harness.site import Site

PLUGIN = """
from typing import Annotated

from msgspec import Meta, Struct

from evalhub_server.plugins import Descriptor, hookimpl


class Settings(Struct, kw_only=True, frozen=True):
    depth: Annotated[int, Meta(description="How deep it looks.")] = 3
    label: Annotated[str, Meta(description="What it writes before each line.")] = ""


def make(settings, context):
    raise AssertionError("describing creates nothing")


@hookimpl
def evalhub_exporters():
    return [Descriptor(api=API, name="NAME", factory=make, settings=Settings, section="deep", help="looks deep")]
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path / "site")
    monkeypatch.syspath_prepend(site.folder)
    return site


def test_it_prints_settings_with_their_defaults_and_what_selects_it(
    site: Site, capsys: pytest.CaptureFixture[str]
):
    site.install("deep-one", PLUGIN.replace("API", "1").replace("NAME", "diver"))
    assert main(["plugins", "diver"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("exporter diver: looks deep\n")
    for line in (
        "  distribution deep-one 0.1",
        "  state        available, plugin API 1",
        "  selected by  plugins.exporters: [diver]",
        "  section      deep",
        "  deep.depth (default: 3)\n      How deep it looks.",
        "  deep.label\n      What it writes before each line.",
    ):
        assert f"{line}\n" in text
    assert " ms\n" in text.partition("  import ")[2]


def test_all_plugins_with_the_name_are_described_as_json(capsys: pytest.CaptureFixture[str]):
    assert main(["plugins", "local", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["kind"], found["section"]) == ("runtime", "local")
    assert found["selected_by"] == "plugins.runtime: local; --local"
    assert isinstance(found["import_ms"], int)
    keys = {key["path"]: key for key in found["keys"]}
    assert keys["local.allow_remote_commands"]["default"] is False
    assert all(key["description"] for key in keys.values())


def test_a_plugin_for_another_api_is_described_with_its_error(site: Site, capsys: pytest.CaptureFixture[str]):
    site.install("deep-two", PLUGIN.replace("API", "99").replace("NAME", "wreck"))
    assert main(["plugins", "wreck"]) == 0
    text = capsys.readouterr().out
    assert (
        "  state        incompatible, plugin API 99: is written for plugin API 99; this server accepts 1\n"
        in text
    )


def test_a_plugin_that_could_not_be_loaded_is_refused_with_the_reason(
    site: Site, capsys: pytest.CaptureFixture[str]
):
    site.install("deep-three", "import no_such_module_at_all")
    assert main(["plugins", "deep_three"]) == 1
    error = capsys.readouterr().err
    assert "No runtime, storage, tracker, exporter or observer is called 'deep_three'." in error
    assert "No module named 'no_such_module_at_all'" in error
    assert "'eval-hub-server plugins' lists all names." in error


def test_a_plugin_without_settings_says_so(site: Site, capsys: pytest.CaptureFixture[str]):
    source = PLUGIN.replace("settings=Settings", "settings=NoSettings").replace(
        "import Descriptor", "import Descriptor, NoSettings"
    )
    site.install("deep-four", source.replace("API", "1").replace("NAME", "float"))
    assert main(["plugins", "float"]) == 0
    assert "  section      deep (no settings)\n" in capsys.readouterr().out
