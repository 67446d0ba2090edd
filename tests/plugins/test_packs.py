"""Provider packs: installed distributions whose providers and collections are served."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

import pytest
import yaml

from evalhub_server.cli.server import Server
from evalhub_server.errors import PluginError, StartupError
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.plugins.manager import LOAD_PLUGINS
from evalhub_server.settings import load_settings
from harness import Config, RunningServer
from harness.config import STEPS
from harness.server import API
from harness.site import Site

PACK = """
from pathlib import Path

from evalhub_server.plugins import hookimpl


@hookimpl
def evalhub_catalog():
    return [Path(__file__).parent / "FOLDER"]
"""


def provider(provider_id: str, name: str, command: str = "true") -> dict[str, Any]:
    return {
        "id": provider_id,
        "name": name,
        "runtime": {"local": {"command": command}},
        "benchmarks": [{"id": "b", "name": "b", "category": "test"}],
    }


def install(site: Site, distribution: str, *documents: tuple[str, dict[str, Any]]) -> Path:
    """A pack with files, each in ``providers`` or ``collections``; returns its directory."""
    folder = site.folder / f"{distribution}-files"
    for kind, document in documents:
        (folder / kind).mkdir(parents=True, exist_ok=True)
        (folder / kind / f"{document['id']}.yaml").write_text(yaml.safe_dump(document), "utf-8")
    site.install(distribution, PACK.replace("FOLDER", folder.name))
    return folder


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    site = Site(tmp_path / "site")
    monkeypatch.syspath_prepend(site.folder)
    return site


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """A server with own provider files, the bundled ones and a pack that has some of their ids."""
    folder = tmp_path_factory.mktemp("packs")
    site = Site(folder / "site")
    collection = {
        "id": "pack-suite",
        "name": "Suite of the pack",
        "category": "test",
        "benchmarks": [{"id": "b", "provider_id": "pack-bench"}],
    }
    install(
        site,
        "my-benchmarks",
        ("providers", provider("pack-bench", "of the pack", '"$EVALHUB_PYTHON" -m pack_adapter')),
        ("providers", provider("mine", "of the pack")),
        ("providers", provider("quickstart", "of the pack")),
        ("collections", collection),
    )
    adapter = f"import runpy, sys\nsys.argv[1:] = ['completed']\nrunpy.run_path({str(STEPS)!r}, run_name='__main__')\n"
    (site.folder / "pack_adapter.py").write_text(adapter, "utf-8")
    config = Config(folder / "config", catalog={"bundled": True})
    config.write("providers/mine.yaml", provider("mine", "of the user"))
    with RunningServer(config.folder, env={"PYTHONPATH": str(site.folder)}) as server:
        yield server


def test_own_files_come_before_packs_and_packs_before_bundled_files(server: RunningServer):
    names = {
        each: server.get(f"{API}/providers/{each}")["name"]
        for each in ("mine", "pack-bench", "quickstart", "garak")
    }
    assert (names["mine"], names["pack-bench"], names["quickstart"]) == (
        "of the user",
        "of the pack",
        "of the pack",
    )
    assert names["garak"] not in ("of the user", "of the pack")


def test_a_job_of_a_packs_collection_runs_the_adapter_of_the_pack(server: RunningServer):
    body = {
        "name": "packed",
        "model": {"url": "http://localhost:1/v1", "name": "m"},
        "collection": {"id": "pack-suite"},
    }
    answer = server.call("POST", f"{API}/jobs", body)
    assert answer.status == 202, answer
    job = server.finished(answer.body["resource"]["id"])
    assert job["status"]["state"] == "completed", job


def settings_of(tmp_path: Path, **catalog: Any) -> Any:
    sections = {"catalog": catalog} if catalog else {}
    config = Config(tmp_path / "config", **sections)
    return load_settings(local=True, configdir=config.folder, environ={"PORT": "0"})


async def test_two_packs_with_one_id_are_refused_by_name_unless_one_is_selected(site: Site, tmp_path: Path):
    install(site, "first-pack", ("providers", provider("shared", "of the first")))
    install(site, "second-pack", ("providers", provider("shared", "of the second")))
    plugins = load_plugins(environ={})
    with pytest.raises(
        StartupError, match=r"'first_pack' \(first-pack\) and 'second_pack'.*provider 'shared'"
    ):
        async with Server(settings_of(tmp_path / "all"), plugins):
            pass
    async with Server(settings_of(tmp_path / "one", packs=["second_pack"]), plugins):
        pass
    async with Server(settings_of(tmp_path / "none", packs=[]), plugins):
        pass


async def test_a_selected_pack_that_is_not_installed_refuses_the_start(site: Site, tmp_path: Path):
    install(site, "only-pack", ("providers", provider("one", "one")))
    with pytest.raises(
        PluginError, match=r"pack 'other' is selected.*Installed packs: only_pack\. pip install"
    ):
        async with Server(settings_of(tmp_path, packs=["other"]), load_plugins(environ={})):
            pass


def test_packs_that_the_environment_does_not_name_are_not_loaded(site: Site):
    install(site, "only-pack", ("providers", provider("one", "one")))
    assert [pack.name for pack in load_plugins(environ={}).packs(None)] == ["only_pack"]
    assert load_plugins(environ={LOAD_PLUGINS: "another"}).packs(None) == []


def test_check_examines_packs_and_the_list_of_plugins_counts_their_files(tmp_path: Path):
    site = Site(tmp_path / "site")
    wrong = {**provider("wrong", "wrong"), "benchmarks": [{"name": "without an id"}]}
    folder = install(
        site,
        "first-pack",
        ("providers", provider("shared", "of the first")),
        ("providers", wrong),
        (
            "collections",
            {"id": "c", "name": "c", "category": "t", "benchmarks": [{"id": "b", "provider_id": "shared"}]},
        ),
    )
    install(site, "second-pack", ("providers", provider("shared", "of the second")))
    config = Config(tmp_path / "config")
    env = {**os.environ, "PYTHONPATH": str(site.folder)}
    command = [sys.executable, "-m", "evalhub_server"]
    check = [*command, "check", "--local", "--configdir", str(config.folder), "--json"]
    done = subprocess.run(check, env=env, capture_output=True, text=True, timeout=60, check=False)
    errors = {
        each["source"]: each["message"]
        for each in json.loads(done.stdout)["findings"]
        if each["severity"] == "error"
    }
    assert done.returncode == 1
    assert errors.keys() == {
        str(folder / "providers" / "wrong.yaml"),
        str(site.folder / "second-pack-files" / "providers" / "shared.yaml"),
    }
    config.write("config.yaml", {"catalog": {"packs": ["missing"]}})
    done = subprocess.run(check, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert "pack 'missing' is selected" in done.stdout
    listed = subprocess.run(
        [*command, "plugins"], env=env, capture_output=True, text=True, timeout=60, check=True
    )
    line = next(line for line in listed.stdout.splitlines() if "first_pack" in line)
    assert line.split() == [
        "pack",
        "first_pack",
        "first-pack",
        "0.1",
        "available",
        "2",
        "providers,",
        "1",
        "collection",
    ]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        ("None", "returned a NoneType, not a sequence of paths"),
        ("['here']", "returned a str where a pathlib.Path belongs"),
        ("[Path('here')]", "returned the relative path here; begin with Path(__file__).parent"),
        ("[Path(__file__).parent]", "which has no folder providers or collections"),
        ("[]", "returned no directory"),
        ("Awaitable()", "must be a plain function"),
    ],
)
def test_what_the_hook_returns_is_checked(site: Site, answer: str, complaint: str):
    source = PACK.replace('[Path(__file__).parent / "FOLDER"]', answer)
    distribution = f"pack-{crc32(answer.encode())}"
    site.install(distribution, source + "\n\nclass Awaitable:\n    def __await__(self):\n        yield\n")
    (info,) = [each for each in load_plugins(environ={}).infos if each.distribution == distribution]
    assert info.state == "broken"
    assert complaint in info.error
