"""Socket activation, and notifications to the service manager. The test is the manager."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from harness import Config, RunningServer, processes_with, wait_until
from harness.server import API

ACTIVATE = """
import os, sys
fd = int(os.environ["FD"])
if fd != 3:
    os.dup2(fd, 3)
    os.close(fd)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=os.environ.get("FDS", "1"), LISTEN_FDNAMES="evalhub.socket")
os.execv(sys.argv[1], sys.argv[1:])
"""
PREFIX = (sys.executable, "-S", "-E", "-c", ACTIVATE)


@pytest.fixture
def config(tmp_path: Path) -> Iterator[Config]:
    made = Config(tmp_path / "config", supervisor={"exit_grace": "300ms"})
    made.scripted("running", "say:ready", f"await:{tmp_path / 'gate'}", "completed")
    yield made
    for pid in processes_with(str(made.jobs_dir)):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not processes_with(str(made.jobs_dir)), "the end of the adapters left")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0), backlog=128) as opened:
        yield opened


def activated(config: Config, opened: socket.socket, **options: object) -> RunningServer:
    return RunningServer(
        config.folder,
        prefix=PREFIX,
        pass_fds=(opened.fileno(),),
        env={"FD": str(opened.fileno()), "PORT": "1"},
        **options,  # pyright: ignore[reportArgumentType]
    )


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_a_result_that_is_reported_while_the_server_restarts_arrives(
    config: Config, listening: socket.socket, tmp_path: Path, how: str
):
    with activated(config, listening, data_dir=tmp_path / "data") as server:
        assert server.port == listening.getsockname()[1]
        job_id = server.submit()
        wait_until(lambda: "ready" in server.logs(job_id), "a running adapter")
        getattr(server, how)()
        (tmp_path / "gate").touch()
        wait_until(lambda: is_connected(job_id, server.port), "an adapter whose request waits in the socket")
        server.start()
        assert server.finished(job_id)["results"]["benchmarks"][0]["metrics"] == {"acc": 0.5}


def is_connected(job_id: str, port: int) -> bool:
    for pid in processes_with(job_id):
        with contextlib.suppress(psutil.Error):
            connections = psutil.Process(pid).net_connections("tcp")
            if any(each.status == psutil.CONN_ESTABLISHED and each.raddr[1] == port for each in connections):
                return True
    return False


def test_adapters_inherit_neither_the_socket_nor_the_variables(config: Config, listening: socket.socket):
    config.provider("for fd in /proc/$$/fd/*; do readlink $fd; done; env", provider_id="shows")
    with activated(config, listening) as server:
        job_id = server.submit(provider="shows")
        server.finished(job_id)
        output = server.logs(job_id)
    assert "EVALHUB_MODE=local" in output
    assert "socket:" not in output
    assert "LISTEN_" not in output


def test_the_address_of_the_socket_is_that_of_the_callback_url_and_of_the_access_rules(config: Config):
    with socket.create_server(("0.0.0.0", 0)) as opened, activated(config, opened) as server:
        job_id = server.submit()
        wait_until(lambda: "ready" in server.logs(job_id), "a running adapter")
        (spec,) = config.jobs_dir.rglob("job.json")
        assert json.loads(spec.read_text())["callback_url"] == f"http://localhost:{server.port}"
        assert server.call("GET", f"{API}/jobs", headers={"Host": "rebound.test"}).status == 403
        assert server.call("GET", f"{API}/jobs", headers={"Host": "192.0.2.1"}).status == 200
        provider = {"name": "p", "runtime": {"local": {"command": "true"}}, "benchmarks": [{"id": "b"}]}
        assert server.call("POST", f"{API}/providers", provider).status == 403
        server.call("DELETE", f"{API}/jobs/{job_id}")


def test_an_ipv6_socket_is_served(config: Config):
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as opened,
        activated(config, opened) as server,
    ):
        line = next(line for line in server.log_lines() if line["msg"] == "API Server starting")
        assert line["url"] == f"http://[::1]:{opened.getsockname()[1]}"
        with socket.create_connection(opened.getsockname()[:2]) as client:
            client.sendall(b"GET /api/v1/health HTTP/1.1\r\nHost: [::1]\r\n\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 200")


def refusal(config: Config, opened: socket.socket, fds: str = "1") -> str:
    env = {**os.environ, "FD": str(opened.fileno()), "FDS": fds}
    command = [*PREFIX, sys.executable, "-m", "evalhub_server", "--local", "--configdir", str(config.folder)]
    done = subprocess.run(
        command, env=env, pass_fds=(opened.fileno(),), capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


def test_sockets_that_cannot_be_served_are_refused(config: Config, listening: socket.socket, tmp_path: Path):
    assert "LISTEN_FDS is 2. The server needs one TCP socket" in refusal(config, listening, fds="2")
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(str(tmp_path / "s"))
        opened.listen()
        assert "is not an internet socket" in refusal(config, opened)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as opened:
        opened.bind(("127.0.0.1", 0))
        assert "is not a listening stream socket" in refusal(config, opened)
    with (tmp_path / "file").open("w") as file:
        assert "is not a socket" in refusal(config, file)  # pyright: ignore[reportArgumentType]


def test_a_socket_for_another_process_is_ignored(config: Config):
    with RunningServer(config.folder, env={"LISTEN_PID": "1", "LISTEN_FDS": "1"}) as server:
        assert server.call("GET", "/api/v1/health").status == 200


@pytest.mark.parametrize("abstract", [False, True])
def test_the_service_manager_learns_when_the_server_listens_and_when_it_stops(
    config: Config, tmp_path: Path, abstract: bool
):
    name = f"evalhub-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    config.scripted("env:NOTIFY_SOCKET", "completed", provider_id="shows")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name if abstract else name)
        manager.settimeout(30)
        server = RunningServer(config.folder, env={"NOTIFY_SOCKET": "@" + name if abstract else name})
        with server:
            ready = manager.recv(1000).decode().splitlines()
            assert ready == ["READY=1", f"STATUS=Listening at http://localhost:{server.port}"]
            assert server.call("GET", "/api/v1/health").status == 200
            job_id = server.submit(provider="shows")
            server.finished(job_id)
            assert "NOTIFY_SOCKET=None" in server.logs(job_id)
            assert server.terminate() == 0
        assert manager.recv(1000).decode().splitlines() == ["STOPPING=1", "STATUS=Stopping"]


def test_a_start_that_fails_is_not_reported_as_ready(
    config: Config, listening: socket.socket, tmp_path: Path
):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        env = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with pytest.raises(AssertionError, match="cannot listen"):
            RunningServer(config.folder, env=env, port=listening.getsockname()[1]).start()
        manager.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.recv(1000)
