"""The HTTP client against servers that are not MLflow, or not well: each failure is one readable error."""

from __future__ import annotations

import json
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from evalhub_server.errors import ApiError, ExportRefused
from evalhub_server.models.job import Experiment, JobRequest
from evalhub_server.plugins import PluginContext
from evalhub_server.plugins.sections import Duration
from evalhub_server.testing.builders import a_job
from evalhub_tracking_mlflow.client import Client, MlflowError
from evalhub_tracking_mlflow.credentials import Credentials
from evalhub_tracking_mlflow.plugin import make_tracker
from evalhub_tracking_mlflow.settings import MlflowSettings, tls_context
from harness import free_port


class Answering(BaseHTTPRequestHandler):
    """Answers as the path says: ``/echo`` the headers, ``/STATUS`` that status with ``body``, ``/hang`` never."""

    body = b'{"error_code": "INTERNAL_ERROR",\n "message": "bad"}'
    released: threading.Event

    def do_GET(self) -> None:
        word = self.path.strip("/").partition("?")[0]
        if word == "hang":
            self.released.wait(30)
            return
        status = int(word) if word.isdecimal() else 200
        body = json.dumps(dict(self.headers)).encode() if word == "echo" else self.body
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        return


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    Answering.released = threading.Event()
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as made:
        thread = threading.Thread(target=made.serve_forever)
        thread.start()
        yield made
        Answering.released.set()
        made.shutdown()
        thread.join()


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """The folder of ``crt`` and ``key``."""
    openssl = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "key", "-out", "crt"]
    openssl += ["-subj", "/CN=localhost", "-days", "2", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(openssl, cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def client_of(port: int, scheme: str = "http", **settings: Any) -> Client:
    made = MlflowSettings(tracking_uri=f"{scheme}://127.0.0.1:{port}", **settings)
    return Client(Credentials(made), made.http_timeout, tls_context(made))


async def failure(client: Client, path: str) -> MlflowError:
    try:
        with pytest.raises(MlflowError) as caught:
            await client.get(path, dict[str, int])
    finally:
        await client.close()
    return caught.value


async def test_a_refusal_has_status_code_and_text(server: ThreadingHTTPServer):
    error = await failure(client_of(server.server_port), "/500")
    assert (error.status, error.code, str(error)) == (
        500,
        "INTERNAL_ERROR",
        "GET /500: 500 INTERNAL_ERROR bad",
    )


async def test_an_answer_that_is_not_mlflows_is_an_error(server: ThreadingHTTPServer):
    assert "not an answer of MLflow" in str(await failure(client_of(server.server_port), "/200"))


async def test_a_server_that_does_not_answer_in_time_is_an_error(server: ThreadingHTTPServer):
    client = client_of(server.server_port, http_timeout=Duration(0.05))
    assert str(await failure(client, "/hang")) == "GET /hang: no answer within 0.05 seconds"


async def test_a_server_that_is_down_is_an_error(tmp_path: Path):
    error = await failure(client_of(free_port()), "/x")
    assert error.status == 0
    assert "Cannot connect" in str(error)


async def test_a_token_file_that_cannot_be_read_is_an_error(server: ThreadingHTTPServer, tmp_path: Path):
    error = await failure(client_of(server.server_port, token_path=str(tmp_path / "nothing")), "/echo")
    assert "No such file" in str(error)


async def test_requests_carry_token_and_workspace(server: ThreadingHTTPServer):
    client = client_of(server.server_port, token="secret")
    sent = await client.get("/echo", dict[str, str], workspace="team-a")
    assert (sent["Authorization"], sent["X-MLFLOW-WORKSPACE"]) == ("Bearer secret", "team-a")
    assert "X-MLFLOW-WORKSPACE" not in await client.get("/echo", dict[str, str])
    await client.close()


async def test_the_certificates_that_the_settings_name_are_trusted_and_no_others(
    server: ThreadingHTTPServer, certificate: Path
):
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate / "crt", certificate / "key")
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    trusting = client_of(server.server_port, "https", ca_cert_path=str(certificate / "crt"))
    assert "User-Agent" in await trusting.get("/echo", dict[str, str])
    await trusting.close()
    assert "certificate" in str(await failure(client_of(server.server_port, "https"), "/echo"))


async def test_a_tracker_whose_server_is_down_refuses_experiments_and_tries_exports_again():
    tracker = make_tracker(MlflowSettings(tracking_uri=f"http://127.0.0.1:{free_port()}"), PluginContext())
    await tracker.check()
    request = JobRequest(name="j", experiment=Experiment(name="e"))
    with pytest.raises(ApiError) as caught:
        await tracker.resolve_experiment(request, "j", "")
    assert (caught.value.status, caught.value.code) == (400, "mlflow_request_failed")
    assert caught.value.message.startswith("The MLflow request failed: 'GET /api/3.0/mlflow/server-info: ")
    with pytest.raises(MlflowError):
        await tracker.record(a_job(experiment_id="7"))
    with pytest.raises(ExportRefused):
        await tracker.record(a_job())
    assert "MLFLOW_WORKSPACE" not in tracker.environment("team-a")
    await tracker.close()


async def test_closing_what_was_never_used_is_nothing():
    await client_of(1).close()
