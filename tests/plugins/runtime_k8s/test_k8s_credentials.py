"""Credentials that expire while the server runs."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from evalhub_server.plugins import RuntimeUnavailable
from harness import processes_with
from harness.kube import FakeCluster
from harness.kube.api import TOKEN
from harness.kube.kinds import Object
from harness.kube.rights import WITH_WATCH
from harness.kube.runtime import a_run, opened, soon, until


def token_file(folder: Path) -> tuple[Object, Path]:
    file = folder / "token"
    return {"tokenFile": str(file)}, file


def exec_plugin(folder: Path) -> tuple[Object, Path]:
    """A program that prints the credential, like those of cloud providers."""
    file, program = folder / "token", folder / "plugin.py"
    status = {"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential"}
    program.write_text(
        f"import json, pathlib\nstatus = {json.dumps(status)}\n"
        f"token = pathlib.Path({str(file)!r}).read_text()\n"
        "print(json.dumps(status | {'status': {'token': token}}))\n"
    )
    plugin = {
        "apiVersion": status["apiVersion"],
        "command": sys.executable,
        "args": [str(program)],
        "interactiveMode": "Never",
    }
    return {"exec": plugin}, file


@pytest.fixture(params=[token_file, exec_plugin])
def token(
    request: pytest.FixtureRequest, cluster: FakeCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """The file of the token; the runtime finds the cluster with it."""
    user, file = request.param(tmp_path)
    file.write_text(TOKEN)
    monkeypatch.setenv("KUBECONFIG", str(cluster.kubeconfig(tmp_path, user)))
    monkeypatch.setattr("evalhub_runtime_k8s.credentials.RELOAD_INTERVAL_S", 0)
    return file


FROM_FILE = pytest.mark.parametrize("token", [token_file], indirect=True)


def supply(file: Path, token: str) -> None:
    file.write_text(token)


def rotate(cluster: FakeCluster, token: Path) -> None:
    supply(token, "the-next-token")
    cluster.rotate_token("the-next-token")


async def test_a_rejected_token_is_loaded_again(cluster: FakeCluster, token: Path):
    async with opened() as runtime:
        first = await runtime.launch(a_run("exits:3"))
        assert (await soon(runtime.wait(first))).code == 3
        rotate(cluster, token)
        handles = await asyncio.gather(*(runtime.launch(a_run("exits:4")) for _ in range(3)))
        exits = await soon(asyncio.gather(*(runtime.wait(handle) for handle in handles)))
        assert {exit_.code for exit_ in exits} == {4}
        await soon(runtime.stop(first, 0))


async def test_watches_continue_with_the_next_token(cluster: FakeCluster, token: Path):
    cluster.grant(WITH_WATCH)
    async with opened() as runtime:
        handle = await runtime.launch(a_run("stops"))
        waiting = asyncio.create_task(runtime.wait(handle))
        await until(lambda: cluster.open_watches == 2, "Jobs and pods are watched")
        rotate(cluster, token)
        cluster.drop_watches()
        await until(lambda: cluster.open_watches == 2, "they are watched again")
        waiting.cancel()


@FROM_FILE
async def test_a_token_that_comes_late_is_found_by_a_retry(cluster: FakeCluster, token: Path):
    async with opened() as runtime:
        cluster.rotate_token("the-next-token")
        with pytest.raises(RuntimeUnavailable, match="Unauthorized"):
            await runtime.find(a_run("runs"))
        supply(token, "")
        with pytest.raises(RuntimeUnavailable, match="Unauthorized"):
            await runtime.find(a_run("runs"))
        supply(token, "the-next-token")
        assert await runtime.find(a_run("runs")) is None


@FROM_FILE
async def test_a_program_is_not_run_for_every_rejected_request(
    cluster: FakeCluster, token: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("evalhub_runtime_k8s.credentials.RELOAD_INTERVAL_S", 3600)
    async with opened() as runtime:
        cluster.rotate_token("the-next-token")
        with pytest.raises(RuntimeUnavailable):
            await runtime.find(a_run("runs"))
        supply(token, "the-next-token")
        with pytest.raises(RuntimeUnavailable):
            await runtime.find(a_run("runs"))


def move(config: Path) -> None:
    config.write_text(config.read_text().replace("127.0.0.1", "localhost"))


@FROM_FILE
async def test_another_address_of_the_cluster_gets_a_new_client(
    cluster: FakeCluster, tmp_path: Path, token: Path
):
    async with opened() as runtime:
        move(tmp_path / "kubeconfig.yaml")
        rotate(cluster, token)
        assert await runtime.find(a_run("runs")) is None


@pytest.mark.parametrize("token", [exec_plugin], indirect=True)
async def test_a_program_that_hangs_does_not_keep_the_server(
    cluster: FakeCluster, tmp_path: Path, token: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("evalhub_runtime_k8s.credentials.RELOAD_TIMEOUT_S", 0.05)
    async with opened() as runtime:
        hang(tmp_path / "plugin.py", tmp_path / "end")
        cluster.rotate_token("the-next-token")
        with pytest.raises(RuntimeUnavailable, match="Unauthorized"):
            await runtime.find(a_run("runs"))
        supply(tmp_path / "end", "")
    await until(lambda: not processes_with(str(tmp_path)), "the program has ended")


def hang(program: Path, end: Path) -> None:
    """Replace a program by one that waits for a file."""
    program.write_text(
        f"import pathlib, time\nwhile not pathlib.Path({str(end)!r}).exists():\n    time.sleep(0.01)\n"
    )
