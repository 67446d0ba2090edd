"""Evaluation cards in a real registry, with outages of the registry and restarts of the server."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from harness import Config, RunningServer, wait_until
from harness.registry import PASSWORD, USER, RunningRegistry, needs_registry
from harness.tokens import TokenServer

pytestmark = [pytest.mark.slow, needs_registry]

AUTH = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
AS_ROBOT = {"Authorization": f"Basic {AUTH}"}
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


def a_server(
    tmp_path: Path, *steps: str, docker: Mapping[str, Any] | None = None, path: str = "", **sections: Any
) -> RunningServer:
    """A durable server whose user has the docker configuration ``docker`` and programs in ``path``."""
    config = Config(tmp_path / "config", finalizer={"retry_most": "1s"}, **sections)
    config.scripted(*(steps or ("running", "completed")))
    (tmp_path / "docker").mkdir(exist_ok=True)
    (tmp_path / "docker" / "config.json").write_text(json.dumps(docker or {}), "utf-8")
    env = {
        "DOCKER_CONFIG": str(tmp_path / "docker"),
        "OCI_AUTH_CONFIG_PATH": "",
        "OCI_INSECURE": "",
        "PATH": f"{path}:{os.environ['PATH']}",
    }
    return RunningServer(config.folder, data_dir=tmp_path / "data", env=env)


def exported_to(registry: RunningRegistry, **coordinates: Any) -> dict[str, Any]:
    return {
        "oci": {
            "coordinates": {
                "oci_host": f"http://{registry.host}",
                "oci_repository": "team/results",
                **coordinates,
            }
        }
    }


def export_of(job: dict[str, Any]) -> dict[str, Any]:
    (export,) = job["results"]["exports"]
    return export


def settled(server: RunningServer, job_id: str) -> dict[str, Any]:
    """The job, as soon as its export has succeeded or failed."""
    server.finished(job_id)
    return wait_until(
        lambda: export_of(job := server.job(job_id))["state"] != "pending" and job, f"the export of {job_id}"
    )


def manifest_of(registry: RunningRegistry, tag: str, headers: Mapping[str, str] = AS_ROBOT) -> Any:
    answer = registry.call("GET", f"/v2/team/results/manifests/{tag}", {"Accept": MANIFEST, **headers})
    assert answer.status == 200, answer
    return answer


def test_the_card_of_a_finished_job_is_pushed_and_the_job_has_its_location(tmp_path: Path):
    auth = RunningRegistry.basic(tmp_path / "registry")
    with RunningRegistry(tmp_path / "registry", auth=auth) as registry:
        docker = {"auths": {registry.host: {"auth": AUTH}}}
        with a_server(tmp_path, docker=docker) as server:
            exports = exported_to(registry, oci_tag="nightly", annotations={"team": "blue"})
            job_id = server.submit(exports=exports)
            job = settled(server, job_id)
            card = server.call("GET", f"/api/v1/evaluations/jobs/{job_id}/card")
            log = server.log_text()

        answer = manifest_of(registry, f"nightly-{job_id}")
        (layer,) = answer.body["layers"]
        blob = registry.call("GET", f"/v2/team/results/blobs/{layer['digest']}", AS_ROBOT)
    digest = answer.headers["docker-content-digest"]
    reference = f"{registry.host}/team/results:nightly-{job_id}@{digest}"
    assert export_of(job) == {
        "kind": "exporter",
        "name": "oci",
        "state": "succeeded",
        "attempts": 1,
        "reference": reference,
        "digest": digest,
    }
    assert job["results"]["oci"]["status"]["state"] == "succeeded"
    assert job["results"]["oci"]["evaluation_card"] == {"oci_digest": digest, "oci_reference": reference}
    assert job["exports"] == exports
    assert answer.body["annotations"] == {
        "team": "blue",
        "evaluation_job_id": job_id,
        "org.opencontainers.image.title": f"nightly-{job_id}",
    }
    assert layer["digest"] == f"sha256:{hashlib.sha256(blob.body).hexdigest()}"
    assert json.loads(blob.body) == card.body
    assert card.body["results"]["benchmarks"][0]["metrics"] == {"acc": 0.5}
    assert PASSWORD not in log
    assert AUTH not in log


def test_the_token_flow_with_a_credential_helper(tmp_path: Path):
    helpers = tmp_path / "bin"
    helpers.mkdir()
    program = helpers / "docker-credential-vault"
    secret = json.dumps({"Username": USER, "Secret": PASSWORD})
    program.write_text(f"#!/bin/sh\ncat >/dev/null\nprintf '%s' '{secret}'\n", "utf-8")
    program.chmod(0o700)
    with (
        TokenServer(tmp_path / "tokens") as tokens,
        RunningRegistry(tmp_path / "registry", auth=tokens.auth) as registry,
    ):
        docker = {"credHelpers": {registry.host: "vault"}}
        with a_server(tmp_path, docker=docker, path=str(helpers)) as server:
            job_id = server.submit(exports=exported_to(registry))
            job = settled(server, job_id)
        assert export_of(job)["state"] == "succeeded", job["results"]
        may_read = {"Authorization": f"Bearer {tokens.token('repository:team/results:pull')}"}
        assert registry.tags("team/results", may_read) == [f"evaluation-card-{job_id}"]


@pytest.mark.parametrize("how", ["terminate", "kill"])
def test_an_outage_of_the_registry_and_a_restart_result_in_one_artifact(tmp_path: Path, how: str):
    with RunningRegistry(tmp_path / "registry") as registry, a_server(tmp_path) as server:
        registry.stop()
        job_id = server.submit(exports=exported_to(registry))
        server.finished(job_id)
        wait_until(lambda: export_of(server.job(job_id)).get("attempts"), "an attempt while it is down")
        # The exit of the adapter, which may follow its result, is stored with the state of its samples.
        pending = wait_until(
            lambda: "samples" in (job := server.job(job_id))["status"]["benchmarks"][0] and job,
            "the exit of the adapter",
        )
        assert pending["status"]["state"] == "completed"
        assert (export_of(pending)["state"], pending["results"]["oci"]["status"]["state"]) == (
            "pending",
            "pending",
        )
        assert "cannot be reached" in export_of(pending)["error"]

        getattr(server, how)()
        registry.start()
        server.start()
        job = settled(server, job_id)
        assert export_of(job)["state"] == "succeeded"
        assert job["status"] == pending["status"]
        assert job["resource"]["updated_at"] == pending["resource"]["updated_at"]

        (tag,) = registry.tags("team/results")
        answer = manifest_of(registry, tag, {})
        assert answer.headers["docker-content-digest"] == export_of(job)["digest"]
        assert len(registry.requests("PUT", "/team/results/manifests/")) == 1


def test_the_tag_moves_to_the_card_of_a_result_that_replaces_a_provisional_failure(tmp_path: Path):
    with (
        RunningRegistry(tmp_path / "registry") as registry,
        a_server(tmp_path, "exit:3", supervisor={"exit_grace": "0s"}) as server,
    ):
        job_id = server.submit(exports=exported_to(registry))
        failed = export_of(settled(server, job_id))
        assert server.report(job_id, "completed", metrics={"acc": 1.0}).status == 204
        completed = export_of(settled(server, job_id))
        (tag,) = registry.tags("team/results")
        assert manifest_of(registry, tag, {}).headers["docker-content-digest"] == completed["digest"]
    assert completed["digest"] != failed["digest"]


def test_a_pending_export_uses_credentials_that_are_corrected_later(tmp_path: Path):
    auth = RunningRegistry.basic(tmp_path / "registry")
    with RunningRegistry(tmp_path / "registry", auth=auth) as registry, a_server(tmp_path) as server:
        job_id = server.submit(exports=exported_to(registry))
        server.finished(job_id)
        waiting = wait_until(
            lambda: "docker login" in export_of(job := server.job(job_id)).get("error", "") and job,
            "a word about the login",
        )
        assert "docker login" in waiting["results"]["oci"]["status"]["message"]["message"]
        config = {"auths": {f"http://{registry.host}/": {"username": USER, "password": PASSWORD}}}
        (tmp_path / "docker" / "config.json").write_text(json.dumps(config), "utf-8")
        assert export_of(settled(server, job_id))["state"] == "succeeded"
        assert registry.tags("team/results", AS_ROBOT) == [f"evaluation-card-{job_id}"]


def test_a_registry_over_plain_http_fails_the_export_at_once_but_not_the_job(tmp_path: Path):
    with a_server(tmp_path) as server:
        coordinates = {"oci_host": "http://registry.example", "oci_repository": "team/results"}
        job_id = server.submit(exports={"oci": {"coordinates": coordinates}})
        job = settled(server, job_id)
    assert job["status"]["state"] == "completed"
    assert (export_of(job)["state"], export_of(job)["attempts"]) == ("failed", 1)
    message = job["results"]["oci"]["status"]["message"]["message"]
    assert "registry.example would be accessed over plain HTTP" in message


def test_without_the_exporter_the_job_shows_a_failed_export(tmp_path: Path):
    with a_server(tmp_path, plugins={"exporters": []}) as server:
        coordinates = {"oci_host": "registry.example", "oci_repository": "r"}
        job = server.finished(server.submit(exports={"oci": {"coordinates": coordinates}}))
        assert "oci" not in server.finished(server.submit())["results"]
    assert "exports" not in job["results"]
    assert job["results"]["oci"]["status"] == {
        "state": "failed",
        "message": {
            "message": "The server has no OCI exporter: plugins.exporters in its configuration does not contain oci",
            "message_code": "oci_export_failed",
            "message_origin": "server",
        },
    }
