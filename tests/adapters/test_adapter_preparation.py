"""What adapters of frameworks share before a run: variables, certificates, the probe of the endpoint."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from evalhub_adapters.preparation import is_hub_reachable, is_offline, prepare, write_bundle
from evalhub_adapters.probe import probe_chat
from evalhub_common.adapter.errors import JobInvalid, ModelUnusable
from evalhub_common.adapter.events import EventSender
from evalhub_common.adapter.job import open_job
from evalhub_common.adapter.model import Model, read_model
from evalhub_common.adapter.program import Run
from harness.answering import Reply
from harness.model_server import MODEL, ModelServer
from harness.quickstart import JobDirectory
from harness.waiting import free_port


def model_at(url: str, **fields: Any) -> Model:
    return read_model({"url": url, "name": MODEL, **fields}, {})


def a_run(folder: Path) -> Run:
    job = JobDirectory(folder / "job", callback_url="http://127.0.0.1:9")
    job.use("http://127.0.0.1:9/v1")
    job.write()
    address, document = open_job({"EVALHUB_JOB_SPEC_PATH": str(job.spec_file)})
    return Run(
        address=address,
        document=document,
        environ={},
        events=EventSender(address, {}),
        samples=folder / "samples.jsonl",
        previous_samples=None,
        artifacts=None,
    )


def test_the_framework_finds_its_settings_the_token_the_certificates_and_the_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = tmp_path / "secret"
    data = tmp_path / "data"
    data.mkdir()
    secret.mkdir()
    for name, text in (("api-key", "k"), ("hf-token", "t"), ("ca_cert", "OWN")):
        (secret / name).write_text(text)
    model = model_at("http://127.0.0.1:9/v1", auth={"secret_ref": f"file://{secret}"})
    environ = {
        "EVALHUB_TEST_DATA_DIR": str(data),
        "TQDM_DISABLE": "0",
        "HF_ENDPOINT": f"http://127.0.0.1:{free_port()}",
    }
    run = a_run(tmp_path)
    prepare(run, model, environ)
    assert Path.cwd() == data
    assert (environ["TQDM_DISABLE"], environ["HF_HUB_DISABLE_TELEMETRY"]) == ("0", "1")
    assert (environ["HF_TOKEN"], environ["HF_HUB_OFFLINE"]) == ("t", "1")
    assert Path(environ["SSL_CERT_FILE"]).read_text().startswith("OWN\n")
    assert environ["SSL_CERT_FILE"] == environ["REQUESTS_CA_BUNDLE"]


def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(JobInvalid, match="ca_cert cannot be read"):
        write_bundle(tmp_path / "ca_cert", tmp_path / "bundle")


def test_whether_the_hub_is_used_and_can_be_reached() -> None:
    assert is_offline({"HF_DATASETS_OFFLINE": "true"})
    assert not is_offline({"HF_HUB_OFFLINE": "0"})
    assert is_hub_reachable({"https_proxy": "http://proxy.test"})
    assert not is_hub_reachable({"HF_ENDPOINT": f"http://127.0.0.1:{free_port()}"})
    with ModelServer() as server:
        assert is_hub_reachable({"HF_ENDPOINT": server.url})


def test_an_endpoint_is_probed_with_the_jobs_settings() -> None:
    with ModelServer() as server:
        probe_chat(model_at(server.base, parameters={"temperature": 0.5}), timeout_s=5, max_retries=0)
        body = server.requests[0].document
    assert (body["temperature"], body["max_tokens"], body["model"]) == (0.5, 16, MODEL)


@pytest.mark.parametrize(
    ("reply", "text"),
    [
        (Reply(200, b'{"choices": []}'), "not with a chat completion"),
        (
            Reply(404, b'{"error": {"message": "no such model"}}'),
            "it answered 404: no such model. Is the path",
        ),
    ],
)
def test_an_endpoint_that_cannot_chat_is_named_before_the_run(reply: Reply, text: str) -> None:
    with ModelServer() as server:
        server.answer = lambda _: reply
        with pytest.raises(ModelUnusable, match=text):
            probe_chat(model_at(server.base), timeout_s=5, max_retries=0)


def test_nothing_changes_where_the_hub_is_reached(tmp_path: Path) -> None:
    before = os.getcwd()  # noqa: PTH109  compared as it is
    with ModelServer() as server:
        environ = {"HF_ENDPOINT": server.url, "EVALHUB_TEST_DATA_DIR": str(tmp_path / "none")}
        prepare(a_run(tmp_path), model_at(server.base), environ)
    assert "HF_HUB_OFFLINE" not in environ
    assert os.getcwd() == before  # noqa: PTH109
