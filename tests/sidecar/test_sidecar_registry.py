"""Push of an artifact through the sidecar to a real registry with authentication."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from harness.registry import PASSWORD, USER, RunningRegistry, needs_registry
from harness.sidecar import Pod, RunningSidecar
from harness.tokens import TokenServer

pytestmark = needs_registry

REPOSITORY = "team/results"
BLOB = b'{"score": 0.5}'
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(params=["password", "token"])
def registry(request: pytest.FixtureRequest, pod: Pod) -> Iterator[RunningRegistry]:
    """A registry with Basic or token authentication."""
    folder = pod.folder / "registry"
    if request.param == "password":
        with RunningRegistry(folder, auth=RunningRegistry.basic(folder)) as running:
            yield running
        return
    with TokenServer(folder) as tokens, RunningRegistry(folder, auth=tokens.auth) as running:
        yield running


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def push_blob(sidecar: RunningSidecar, content: bytes) -> None:
    """Upload a blob as registry clients do: request an upload URL, then send the content there."""
    begun = sidecar.call("POST", f"/v2/{REPOSITORY}/blobs/uploads/", b"")
    assert begun.status == 202, begun
    address = urlsplit(begun.headers["location"])
    assert address.netloc in ("", f"127.0.0.1:{sidecar.port}"), "the adapter is kept here"
    where = f"{address.path}?{address.query}&digest={digest(content).replace(':', '%3A')}"
    headers = {"Content-Type": "application/octet-stream"}
    assert sidecar.call("PUT", where, content, headers).status == 201


def test_an_artifact_is_pushed_and_read_without_credentials_of_the_adapter(
    pod: Pod, registry: RunningRegistry
):
    login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
    (pod.folder / "docker.json").write_text(json.dumps({"auths": {registry.host: {"auth": login}}}))
    coordinates = {"oci_host": f"http://{registry.host}", "oci_repository": REPOSITORY}
    pod.job(exports={"oci": {"coordinates": coordinates}})
    layer = {"mediaType": "application/json", "digest": digest(BLOB), "size": len(BLOB)}
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": digest(b"{}"), "size": 2}
    manifest = {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": empty, "layers": [layer]}
    with pod.sidecar("http://localhost:1") as sidecar:
        push_blob(sidecar, BLOB)
        push_blob(sidecar, b"{}")
        path = f"/v2/{REPOSITORY}/manifests/v1"
        assert sidecar.call("PUT", path, manifest, {"Content-Type": MANIFEST_TYPE}).status == 201
        assert sidecar.call("HEAD", f"/v2/{REPOSITORY}/blobs/{digest(BLOB)}").status == 200
        read = sidecar.call("GET", path, headers={"Accept": MANIFEST_TYPE})
        assert read.body["layers"] == [layer]
        assert sidecar.call("GET", f"/v2/{REPOSITORY}/tags/list").body["tags"] == ["v1"]
        assert sidecar.call("PUT", "/v2/team/other/manifests/v1", manifest).status == 400
    assert registry.call("GET", f"/v2/{REPOSITORY}/tags/list").status == 401
