"""Provider and collection files that change while the server runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, wait_until
from harness.program import run_program
from harness.server import API

MEMBER = {"id": "b", "provider_id": "scripted"}


@pytest.fixture
def config(tmp_path: Path) -> Config:
    config = Config(tmp_path / "config")
    config.provider("true", "b")
    return config


@pytest.fixture
def server(config: Config) -> Iterator[RunningServer]:
    with RunningServer(config.folder) as running:
        yield running


def collection(config: Config, name: str = "C", **fields: Any) -> None:
    document = {"id": "mine", "name": name, "category": "c", "benchmarks": [MEMBER], **fields}
    config.write("collections/mine.yaml", document)


def ids(server: RunningServer, kind: str) -> set[str]:
    return {item["resource"]["id"] for item in server.get(f"{API}/{kind}")["items"]}


def reloads(server: RunningServer) -> int:
    return sum(line["msg"] == "Providers and collections reloaded" for line in server.log_lines())


def unreadable(folder: Path) -> None:
    """A folder that exists and fails with an error for root, too: a symbolic link to itself (ELOOP)."""
    folder.symlink_to(folder.name)


def test_new_changed_and_removed_files_are_seen(config: Config, server: RunningServer):
    config.provider("true", "x", provider_id="second")
    collection(config)
    wait_until(lambda: ids(server, "providers") == {"scripted", "second"}, "the new provider")
    wait_until(lambda: ids(server, "collections") == {"mine"}, "the new collection")
    first = server.get(f"{API}/collections/mine")
    collection(config, name="Renamed")
    changed = wait_until(
        lambda: (now := server.get(f"{API}/collections/mine"))["name"] == "Renamed" and now, "the change"
    )
    assert changed["resource"]["created_at"] == first["resource"]["created_at"]
    assert changed["resource"]["updated_at"] > first["resource"]["updated_at"]
    (config.folder / "providers" / "second.yaml").unlink()
    wait_until(lambda: ids(server, "providers") == {"scripted"}, "the provider's end")
    assert server.get(f"{API}/collections/mine") == changed


def test_a_file_that_becomes_invalid_keeps_its_last_valid_version_and_is_logged(
    config: Config, server: RunningServer
):
    config.write("providers/scripted.yaml", "id: scripted\nbenchmarks: [{id: }\n")
    config.provider("true", "x", provider_id="second")
    wait_until(lambda: "second" in ids(server, "providers"), "the other file")
    assert server.get(f"{API}/providers/scripted")["benchmarks"][0]["id"] == "b"
    warned = [line for line in server.log_lines() if "last valid version" in line["msg"]]
    assert warned[-1]["file"].endswith("scripted.yaml")
    server.submit()
    config.provider("true", "mended")
    wait_until(
        lambda: server.get(f"{API}/providers/scripted")["benchmarks"][0]["id"] == "mended", "the mended file"
    )


def test_folders_that_are_created_later_are_seen(tmp_path: Path):
    folder = tmp_path / "empty"
    folder.mkdir()
    (folder / "config.yaml").write_text("service: {port: 0}\n")
    with RunningServer(folder) as server:
        assert "quickstart" in ids(server, "providers")  # the bundled ones, for want of others
        (folder / "providers").mkdir()
        (folder / "providers" / "p.yaml").write_text("id: late\nbenchmarks: [{id: b}]\n")
        wait_until(lambda: ids(server, "providers") == {"late"}, "the late provider")
        assert server.get(f"{API}/providers/late")["name"] == "late"


@pytest.mark.parametrize("kind", ["providers", "collections"])
def test_a_folder_that_becomes_unreadable_keeps_its_last_content_and_is_logged(
    config: Config, server: RunningServer, kind: str
):
    collection(config)
    wait_until(lambda: ids(server, "collections") == {"mine"}, "the collection")
    folder = config.folder / kind
    folder.rename(config.folder / "elsewhere")
    unreadable(folder)

    def warned() -> list[dict[str, Any]]:
        return [line for line in server.log_lines() if "folder cannot be read" in line["msg"]]

    wait_until(warned, "the warning")
    wait_until(lambda: reloads(server) >= 2, "the reload")
    assert (ids(server, "providers"), ids(server, "collections")) == ({"scripted"}, {"mine"})
    server.submit()
    folder.unlink()
    (config.folder / "elsewhere").rename(folder)
    config.provider("true", "x", provider_id="second")
    wait_until(lambda: "second" in ids(server, "providers"), "the readable folder")
    assert [(line["directory"], "symbolic links" in line["error"]) for line in warned()] == [
        (str(folder), True)
    ]


@pytest.mark.parametrize("kind", ["providers", "collections"])
def test_a_folder_that_cannot_be_read_at_the_start_is_an_error(config: Config, kind: str):
    folder = config.folder / kind
    if folder.exists():
        folder.rename(config.folder / "elsewhere")
    unreadable(folder)
    for command in (["check"], []):
        done = run_program(*command, "--local", "--configdir", str(config.folder))
        assert done.returncode == 1
        assert f"{folder}: cannot be read: " in done.stdout + done.stderr


def test_bundled_collections_without_their_providers_are_not_served(config: Config):
    (config.folder / "collections").rmdir()
    config.provider("true", "b", provider_id="own")
    with RunningServer(config.folder) as server:
        assert ids(server, "providers") == {"scripted", "own"}
        assert ids(server, "collections") == set()


def test_the_bundled_catalogue_is_served_beside_ones_own_whose_ids_win(tmp_path: Path):
    config = Config(tmp_path / "config", catalog={"bundled": True})
    config.provider("true", "b", provider_id="garak")
    collection(config, benchmarks=[{"id": "b", "provider_id": "garak"}])
    with RunningServer(config.folder) as server:
        assert {"garak", "quickstart", "lighteval"} <= ids(server, "providers")
        assert [one["id"] for one in server.get(f"{API}/providers/garak")["benchmarks"]] == ["b"]
        assert {"mine", "quickstart-v1", "coding-v1"} <= ids(server, "collections")
        (config.folder / "providers" / "garak.yaml").unlink()
        wait_until(
            lambda: len(server.get(f"{API}/providers/garak")["benchmarks"]) > 1, "the bundled provider"
        )


def test_a_log_file_in_the_watched_folder_causes_no_loop(config: Config, server: RunningServer):
    with (config.folder / "providers" / "server.log").open("a") as log:
        collection(config)
        while reloads(server) == 0:
            log.write("another line\n")
            log.flush()
            server.get("/api/v1/health")
        for number in range(2):
            config.provider("true", "b", f"x{number}")
            wait_until(lambda: reloads(server) >= 2 + number, "another reload")  # noqa: B023
            log.write("another line\n")
    assert reloads(server) == 3


def test_a_server_with_a_pending_reload_exits_at_once(config: Config, server: RunningServer):
    collection(config)
    assert server.terminate() == 0


def test_a_clients_resource_takes_precedence_over_a_later_file(tmp_path: Path):
    config = Config(tmp_path / "config")
    with RunningServer(config.folder, data_dir=tmp_path / "data") as server:
        created = server.call("POST", f"{API}/providers", {"name": "p", "benchmarks": []}).body
        taken = created["resource"]["id"]
        config.provider("true", "b", provider_id=taken)
        warned = wait_until(
            lambda: [line for line in server.log_lines() if "created over REST" in line.get("error", "")],
            "the warning",
        )
        assert warned[0]["provider_id"] == taken
        assert server.get(f"{API}/providers/{taken}") == created
