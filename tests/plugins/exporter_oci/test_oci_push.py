"""Artifacts in a real registry, with each kind of authentication."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from evalhub_common.docker_credentials import NO_CREDENTIALS, RegistryCredentials
from evalhub_exporter_oci.artifact import Artifact, Blob, card_artifact
from evalhub_exporter_oci.location import Location, artifact_location
from evalhub_exporter_oci.push import push
from evalhub_exporter_oci.session import RegistryError, RegistrySession
from evalhub_server.models.job import OciCoordinates
from evalhub_server.plugins import ExportRefused
from harness.certificates import certificate
from harness.registry import PASSWORD, USER, RunningRegistry, needs_registry
from harness.tokens import REFRESH_TOKEN, SERVICE, TokenServer
from harness.waiting import free_port

pytestmark = needs_registry

ROBOT = RegistryCredentials(username=USER, password=PASSWORD)
AS_ROBOT = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()}


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    """A registry without authentication."""
    with RunningRegistry(tmp_path_factory.mktemp("registry")) as running:
        yield running


def place_in(registry: RunningRegistry, repository: str, tag: str = "") -> Location:
    coordinates = OciCoordinates(oci_host=f"http://{registry.host}", oci_repository=repository, oci_tag=tag)
    return artifact_location(coordinates, "a-job", own_computer=True)


def an_artifact(place: Location, card: bytes = b'{"card_version":"1.0"}') -> Artifact:
    return card_artifact("a-job", card, place.tag, {"team": "blue", "evaluation_job_id": "forged"})


def scopes(tokens: TokenServer) -> set[tuple[str, str, tuple[str, ...]]]:
    parts = [request["scope"].split(":") for request in tokens.token_requests]
    return {(kind, name, tuple(sorted(actions.split(",")))) for kind, name, actions in parts}


async def pushed(
    place: Location,
    artifact: Artifact,
    credentials: RegistryCredentials = NO_CREDENTIALS,
    *,
    ca_cert_path: str = "",
    chunk_bytes: int = 5 * 1024 * 1024,
) -> str:
    async with RegistrySession(place, credentials, timeout_s=30, ca_cert_path=ca_cert_path) as session:
        return await push(session, place, artifact, chunk_bytes)


async def test_the_registry_serves_the_card_with_the_media_types_titles_and_annotations_of_the_contract(
    registry: RunningRegistry,
):
    place = place_in(registry, "team/results", "nightly")
    card = b'{"card_version":"1.0","schema_version":"1.0"}'
    digest = await pushed(place, an_artifact(place, card))

    assert registry.tags("team/results") == ["nightly-a-job"]
    answer = registry.call(
        "GET",
        "/v2/team/results/manifests/nightly-a-job",
        {"Accept": "application/vnd.oci.image.manifest.v1+json"},
    )
    config = b'{"evaluation_job_id":"a-job"}'
    assert answer.headers["content-type"] == "application/vnd.oci.image.manifest.v1+json"
    assert answer.headers["docker-content-digest"] == digest
    assert answer.body == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.artifact.config.v1+json",
            "digest": f"sha256:{hashlib.sha256(config).hexdigest()}",
            "size": len(config),
            "annotations": {"org.opencontainers.image.title": "evaluation-card-a-job-config.json"},
        },
        "layers": [
            {
                "mediaType": "application/vnd.eval-hub.evaluation-card.v1+json",
                "digest": f"sha256:{hashlib.sha256(card).hexdigest()}",
                "size": len(card),
                "annotations": {"org.opencontainers.image.title": "evaluation-card-a-job.json"},
            }
        ],
        "annotations": {
            "evaluation_job_id": "a-job",
            "org.opencontainers.image.title": "nightly-a-job",
            "team": "blue",
        },
    }
    for descriptor, content in ((answer.body["config"], config), (answer.body["layers"][0], card)):
        assert registry.call("GET", f"/v2/team/results/blobs/{descriptor['digest']}").body == content


async def test_a_second_push_of_the_same_sends_nothing(registry: RunningRegistry):
    place = place_in(registry, "again")
    first = await pushed(place, an_artifact(place))
    assert await pushed(place, an_artifact(place)) == first
    assert registry.tags("again") == ["evaluation-card-a-job"]
    assert len(registry.requests("PUT", "/again/manifests/")) == 1
    assert len(registry.requests("POST", "/again/blobs/uploads/")) == 2


async def test_a_newer_card_moves_the_tag_and_pushes_new_blobs_only(registry: RunningRegistry):
    place = place_in(registry, "newer")
    await pushed(place, an_artifact(place, b"old"))
    digest = await pushed(place, an_artifact(place, b"new"))
    headers = {"Accept": "application/vnd.oci.image.manifest.v1+json"}
    answer = registry.call("HEAD", f"/v2/newer/manifests/{place.tag}", headers)
    assert answer.headers["docker-content-digest"] == digest
    assert registry.tags("newer") == ["evaluation-card-a-job"]
    assert len(registry.requests("POST", "/newer/blobs/uploads/")) == 3


@pytest.mark.parametrize("size", [5 * 1024, 5 * 1024 + 1, 17 * 1024])
async def test_a_large_card_is_pushed_in_chunks(registry: RunningRegistry, size: int):
    place = place_in(registry, f"large-{size}")
    card = bytes(number * number % 251 for number in range(size))
    await pushed(place, an_artifact(place, card), chunk_bytes=5 * 1024)
    digest = f"sha256:{hashlib.sha256(card).hexdigest()}"
    assert registry.call("GET", f"/v2/large-{size}/blobs/{digest}").body == card
    assert len(registry.requests("PATCH", f"/large-{size}/")) == {5120: 0, 5121: 2, 17408: 4}[size]


async def test_basic_authentication(tmp_path: Path):
    with RunningRegistry(tmp_path, auth=RunningRegistry.basic(tmp_path)) as registry:
        place = place_in(registry, "team/results")
        await pushed(place, an_artifact(place), ROBOT)
        assert registry.tags("team/results", AS_ROBOT) == [place.tag]

        with pytest.raises(
            RegistryError, match=rf"{registry.host} requires authentication and .* docker login"
        ):
            await pushed(place, an_artifact(place))
        wrong = RegistryCredentials(username=USER, password="a-wrong-password")
        with pytest.raises(RegistryError, match="401 UNAUTHORIZED") as refused:
            await pushed(place, an_artifact(place, b"another card"), wrong)
        assert "a-wrong-password" not in str(refused.value)


async def test_the_token_flow(tmp_path: Path):
    with TokenServer(tmp_path) as tokens, RunningRegistry(tmp_path, auth=tokens.auth) as registry:
        place = place_in(registry, "team/results")
        digest = await pushed(place, an_artifact(place), ROBOT)
        assert (tokens.token_requests[-1]["method"], tokens.token_requests[-1]["service"]) == ("GET", SERVICE)
        assert scopes(tokens) == {
            ("repository", "team/results", ("pull", "push")),
            ("repository", "team/results", ("pull",)),
        }
        token = {"Authorization": f"Bearer {tokens.token('repository:team/results:pull')}"}
        assert registry.tags("team/results", token) == [place.tag]

        by_refresh = RegistryCredentials(identity_token=REFRESH_TOKEN)
        assert await pushed(place, an_artifact(place), by_refresh) == digest
        assert tokens.token_requests[-1]["method"] == "POST"

        with pytest.raises(
            RegistryError, match="refused to get a token for team/results: 401 DENIED"
        ) as refused:
            await pushed(
                place, an_artifact(place), RegistryCredentials(username=USER, password="a-wrong-password")
            )
        assert "a-wrong-password" not in str(refused.value)


async def test_a_token_that_the_registry_no_longer_takes_is_renewed_once(tmp_path: Path):
    with TokenServer(tmp_path) as tokens, RunningRegistry(tmp_path, auth=tokens.auth) as registry:
        place = place_in(registry, "team/results")
        stale = RegistryCredentials(username=USER, password=PASSWORD, registry_token="stale")
        await pushed(place, an_artifact(place), stale)
        assert registry.tags(
            "team/results", {"Authorization": f"Bearer {tokens.token('repository:team/results:pull')}"}
        )


async def test_a_registry_with_a_certificate_of_its_own_needs_the_authority_that_is_set(tmp_path: Path):
    tls = certificate(tmp_path / "tls", "registry")
    with RunningRegistry(tmp_path, tls=tls) as registry:
        coordinates = OciCoordinates(oci_host=registry.host, oci_repository="team/results")
        place = artifact_location(coordinates, "a-job")
        with pytest.raises(RegistryError, match="certificate verify failed"):
            await pushed(place, an_artifact(place))
        await pushed(place, an_artifact(place), ca_cert_path=str(tls.crt))
        assert registry.tags("team/results") == [place.tag]


async def test_a_registry_that_is_down_is_a_passing_trouble():
    coordinates = OciCoordinates(oci_host=f"127.0.0.1:{free_port()}", oci_repository="r")
    place = artifact_location(coordinates, "a-job", insecure=True)
    with pytest.raises(RegistryError, match=r"http://127\.0\.0\.1:\d+ cannot be reached"):
        await pushed(place, an_artifact(place))


async def test_an_invalid_request_is_final(registry: RunningRegistry):
    place = place_in(registry, "team/results", "broken")
    with pytest.raises(ExportRefused, match=r"refused to take the manifest .*: 4\d\d MANIFEST_INVALID"):
        await pushed(
            place, Artifact(blobs=(), manifest=Blob(b'{"schemaVersion":2,"mediaType":"text/plain"}'))
        )


async def test_a_blob_that_is_missing_by_now_is_sent_with_the_next_try(registry: RunningRegistry):
    place = place_in(registry, "team/results", "lost")
    artifact = an_artifact(place, b"a layer that is not there yet")
    with pytest.raises(RegistryError, match="MANIFEST_BLOB_UNKNOWN"):
        await pushed(place, Artifact(blobs=artifact.blobs[:1], manifest=artifact.manifest))
    assert await pushed(place, artifact) == artifact.manifest.digest
