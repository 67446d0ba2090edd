"""Responses that Debian's registry does not give: redirects, refusals, invalid content, timeouts."""

from __future__ import annotations

import hashlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
import structlog

from evalhub_common.docker_credentials import RegistryCredentials
from evalhub_exporter_oci.addresses import AddressPolicy
from evalhub_exporter_oci.artifact import Artifact, Blob, card_artifact
from evalhub_exporter_oci.location import Location, artifact_location
from evalhub_exporter_oci.push import push
from evalhub_exporter_oci.session import RegistryError, RegistrySession
from evalhub_server.models.job import OciCoordinates
from evalhub_server.plugins import ExportRefused
from harness.addresses import private_address
from harness.answering import AnsweringServer, Reply, Request
from harness.certificates import certificate
from harness.proxy import RunningProxy

ME = RegistryCredentials(username="me", password="s3cret-of-mine")
CHALLENGE = {"WWW-Authenticate": 'Basic realm="x"'}


def place_at(host: str, **allowed: Any) -> Location:
    return artifact_location(
        OciCoordinates(oci_host=host, oci_repository="r"), "a-job", **(allowed or {"insecure": True})
    )


async def pushed(
    place: Location, artifact: Artifact | None = None, *, timeout_s: float = 30, **session: Any
) -> str:
    made = artifact or card_artifact("a-job", b"a card", place.tag, {})
    async with RegistrySession(place, ME, timeout_s=timeout_s, **session) as opened:
        return await push(opened, place, made, chunk_bytes=10)


class Registry(AnsweringServer):
    """A registry that accepts all authenticated requests. ``uploads`` is the URL of uploads; ``override`` takes precedence."""

    def __init__(
        self, override: Callable[[Request], Reply | None] = lambda request: None, **server: Any
    ) -> None:
        super().__init__(self._answer, **server)
        self.override = override
        self.uploads = "/upload?state=a%2Bb%3D"
        self.chunk_headers: dict[str, str] = {}

    def _answer(self, request: Request) -> Reply:
        if (reply := self.override(request)) is not None:
            return reply
        if request.headers.get("authorization") != ME.basic:
            return Reply(401, headers=CHALLENGE)
        if request.method == "HEAD":
            return Reply(404)
        if request.method in ("POST", "PATCH"):
            return Reply(202, headers={"Location": self.uploads, **self.chunk_headers})
        return Reply(201)


def only(method: str, path: str, reply: Reply) -> Callable[[Request], Reply | None]:
    """Override the response to authenticated requests of one kind."""
    return lambda request: (
        reply
        if request.method == method and path in request.path and "authorization" in request.headers
        else None
    )


async def test_an_upload_to_another_host_has_no_credentials():
    with Registry() as registry, AnsweringServer(lambda request: Reply(201)) as store:
        registry.uploads = f"{store.url}/put?signature=x%2Fy"
        place = place_at(registry.host)
        artifact = card_artifact("a-job", b"a card", place.tag, {})
        await pushed(place, Artifact(blobs=artifact.blobs[1:], manifest=artifact.manifest))
    (request,) = store.requests
    digest = hashlib.sha256(b"a card").hexdigest()
    assert request.path == f"/put?signature=x%2Fy&digest=sha256%3A{digest}"
    assert (request.body, "authorization" in request.headers) == (b"a card", False)


async def test_the_state_of_an_upload_goes_back_as_it_came():
    with Registry() as registry:
        await pushed(place_at(registry.host))
    uploads = [request.path for request in registry.requests if request.path.startswith("/upload")]
    assert uploads
    assert all(path.startswith("/upload?state=a%2Bb%3D") for path in uploads)


async def test_pieces_are_as_large_as_the_registry_wants_them():
    with Registry() as registry:
        registry.chunk_headers = {"OCI-Chunk-Min-Length": "40"}
        place = place_at(registry.host)
        await pushed(place, Artifact(blobs=(Blob(bytes(100)),), manifest=Blob(b"{}")))
    pieces = [r.headers["content-range"] for r in registry.requests if r.method == "PATCH"]
    assert pieces == ["0-39", "40-79", "80-99"]


async def test_a_redirected_blob_exists_and_the_redirect_is_not_followed():
    with AnsweringServer(lambda request: Reply()) as store:
        reply = Reply(307, headers={"Location": f"{store.url}/blob"})
        with Registry(only("HEAD", "/blobs/", reply)) as registry:
            await pushed(place_at(registry.host))
    assert store.requests == []
    assert [r.method for r in registry.requests if r.method != "HEAD"] == ["PUT"]


@pytest.mark.parametrize(
    ("reply", "expected", "text"),
    [
        (Reply(301, headers={"Location": "https://elsewhere.test/"}), ExportRefused, "301 Moved Permanently"),
        (Reply(413), ExportRefused, "413"),
        (
            Reply(429, body=b'{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down"}]}'),
            RegistryError,
            "slow down",
        ),
        (
            Reply(403, body=b'{"errors":[{"code":"DENIED"}]}'),
            RegistryError,
            "403 DENIED; check the credentials",
        ),
        (Reply(404, body=b'{"errors":[{"code":"NAME_UNKNOWN"}]}'), RegistryError, "NAME_UNKNOWN"),
        (Reply(502, body=b"<html>" + b"x" * 3_000_000), RegistryError, "502 Bad Gateway"),
        (Reply(202, headers={"Location": "ftp://a.test/"}), RegistryError, "cannot be reached"),
    ],
)
async def test_an_upload_that_is_not_taken(reply: Reply, expected: type[Exception], text: str):
    with (
        Registry(only("POST", "/uploads/", reply)) as registry,
        pytest.raises(expected, match=text) as refused,
    ):
        await pushed(place_at(registry.host))
    assert "s3cret" not in str(refused.value)
    assert len(str(refused.value)) < 500


async def test_a_registry_that_changes_the_manifest_is_an_error():
    other = {"Docker-Content-Digest": "sha256:other"}
    with (
        Registry(only("PUT", "/manifests/", Reply(201, headers=other))) as registry,
        pytest.raises(RegistryError, match="became sha256:other instead of sha256:"),
    ):
        await pushed(place_at(registry.host))


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Reply(200, body=b"{}"), "without one"),
        (Reply(200, body=b"no json"), "without one"),
        (Reply(503), "refused to get a token for r: 503"),
    ],
)
async def test_a_token_server_that_gives_no_token(answer: Reply, text: str):
    with AnsweringServer(lambda request: answer) as tokens:
        challenge = {"WWW-Authenticate": f'Bearer realm="{tokens.url}/token"'}
        with (
            AnsweringServer(lambda request: Reply(401, headers=challenge)) as registry,
            pytest.raises(RegistryError, match=text),
        ):
            await pushed(place_at(registry.host))
    assert tokens.requests[0].path == "/token?scope=repository:r:pull,push"


@pytest.mark.parametrize(
    "realm", ["", "/token", "ftp://a.test", "https://", "https://me@a.test/", "HTTP_SERVER"]
)
async def test_credentials_go_to_no_token_server_but_one_with_tls(tmp_path: Path, realm: str):
    tls = certificate(tmp_path, "registry")
    with AnsweringServer(lambda request: Reply()) as tokens:
        realm = tokens.url if realm == "HTTP_SERVER" else realm
        challenge = {"WWW-Authenticate": f'Bearer realm="{realm}"'}
        with (
            AnsweringServer(lambda request: Reply(401, headers=challenge), tls=tls) as registry,
            pytest.raises(ExportRefused, match="which must not get credentials"),
        ):
            await pushed(place_at(registry.host, insecure=False), ca_cert_path=str(tls.crt))
    assert tokens.requests == []


async def test_an_upload_does_not_leave_tls(tmp_path: Path):
    tls = certificate(tmp_path, "registry")
    with AnsweringServer(lambda request: Reply(201)) as store, Registry(tls=tls) as registry:
        registry.uploads = f"{store.url}/put"
        with pytest.raises(RegistryError, match="sends an upload to 'http'; expected https"):
            await pushed(place_at(registry.host, insecure=False), ca_cert_path=str(tls.crt))
    assert store.requests == []


async def test_a_registry_that_does_not_answer_in_time_is_a_passing_trouble():
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = place_at(f"127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(RegistryError, match=r"cannot be reached: no answer within 0\.2 s"):
            await pushed(place, timeout_s=0.2)


@pytest.mark.parametrize("login", ["", "me:p%40ss"])
async def test_the_proxy_of_the_environment_is_used_but_not_for_this_computer(
    monkeypatch: pytest.MonkeyPatch, login: str
):
    with Registry() as registry, RunningProxy({"registry.test": registry.port}, unquote(login)) as proxy:
        for name, value in proxy.environment(login).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("no_proxy", "other.test")
        await pushed(place_at(registry.host))
        assert proxy.requests == []
        registry.uploads = "http://registry.test/upload"
        await pushed(place_at("registry.test"))
    assert {line.split()[1].partition("/v2/")[0] for line in proxy.requests if "/v2/" in line} == {
        "http://registry.test"
    }


async def test_a_proxy_that_wants_a_password_is_named_without_it(monkeypatch: pytest.MonkeyPatch):
    with RunningProxy({}, "me:right") as proxy:
        for name, value in proxy.environment("me:wrong").items():
            monkeypatch.setenv(name, value)
        for host, insecure in (("registry.test", True), ("tls.registry.test", False)):
            with pytest.raises(RegistryError, match="407") as failed:
                await pushed(place_at(host, insecure=insecure))
            assert "wrong" not in str(failed.value)
    assert proxy.requests == []


@pytest.fixture(scope="module")
def own_address() -> str:
    return private_address()


async def test_a_tenants_private_registry_must_be_allowed(own_address: str):
    network = f"{own_address}/32"
    with Registry(address=own_address) as registry:
        place = place_at(registry.host)
        for allowed in ([], ["10.255.0.0/16", "other.test", f"{own_address[:-1]}999:1"]):
            with pytest.raises(RegistryError, match="cannot be reached; see the server's log"):
                await pushed(place, policy=AddressPolicy(allowed))
        assert registry.requests == []
        for allowed in ([network], [own_address], [f"{registry.host}"]):
            await pushed(place, policy=AddressPolicy(allowed))
        count = len(registry.requests)
        with pytest.raises(RegistryError, match="cannot be reached"):
            await pushed(place, policy=AddressPolicy([f"{own_address}:1"]))
        assert len(registry.requests) == count


async def test_uploads_and_token_realms_of_a_tenants_registry_reach_no_other_service(own_address: str):
    policy = AddressPolicy([own_address])
    with AnsweringServer(lambda request: Reply(201)) as service, Registry(address=own_address) as registry:
        for target in (service.url, f"http://127.0.0.1:{service.port}", f"http://2130706433:{service.port}"):
            registry.uploads = f"{target}/latest/meta-data"
            with pytest.raises(
                RegistryError, match=rf"^{registry.host} cannot be reached; see the server's log$"
            ):
                await pushed(place_at(registry.host), policy=policy)
        for realm in (service.url, f"http://127.1:{service.port}"):
            challenge = {"WWW-Authenticate": f'Bearer realm="{realm}/token"'}
            registry.override = lambda request, challenge=challenge: Reply(401, headers=challenge)
            with pytest.raises((RegistryError, ExportRefused)):
                await pushed(place_at(registry.host), policy=policy, allowed_realms=["localhost", "127.1"])
        assert service.requests == []


async def test_tenants_read_one_text_for_every_connection_error(own_address: str):
    texts, reasons = set[str](), list[str]()
    with (
        socket.create_server((own_address, 0)) as silent,
        AnsweringServer(lambda request: None, address=own_address) as closing,
    ):
        hosts = [
            f"{own_address}:{silent.getsockname()[1]}",  # a timeout
            closing.host,  # a connection that is closed
            f"{own_address}:1",  # refused
            "no-such-host.invalid",
            "127.0.0.1:1",
            "localhost:1",
            "169.254.169.254",
            "10.0.0.1",
        ]
        for host in hosts:
            place = place_at(host)
            with structlog.testing.capture_logs() as lines, pytest.raises(RegistryError) as failed:
                await pushed(place, timeout_s=0.3, policy=AddressPolicy([own_address]))
            texts.add(str(failed.value).replace(place.host, "HOST"))
            (line,) = lines
            assert line["artifact"] == place.text
            reasons.append(line["error"])
    assert texts == {"HOST cannot be reached; see the server's log"}
    assert "no answer within 0.3 s" in reasons[0]
    assert all(
        "which is of the server itself, link-local or a metadata service" in text for text in reasons[4:7]
    )
    assert "add the host or its network to oci.allowed_registries" in reasons[7]
    assert len(set(reasons)) == len(reasons)


async def test_a_proxy_is_not_asked_for_addresses_that_are_refused(monkeypatch: pytest.MonkeyPatch):
    with (
        Registry() as registry,
        RunningProxy({"registry.test": registry.port, "10.0.0.1": registry.port}) as proxy,
    ):
        for name, value in proxy.environment("").items():
            monkeypatch.setenv(name, value)
        for host in ("10.0.0.1", "169.254.169.254", "localhost:1"):
            with pytest.raises(RegistryError, match="cannot be reached; see the server's log"):
                await pushed(place_at(host), policy=AddressPolicy([]))
        assert proxy.requests == []
        registry.uploads = "http://registry.test/upload"
        await pushed(place_at("registry.test"), policy=AddressPolicy([]))


async def test_credentials_go_to_no_token_server_of_another_domain(tmp_path: Path):
    challenge = {"WWW-Authenticate": 'Bearer realm="https://tokens.elsewhere.test/token"'}
    with AnsweringServer(lambda request: Reply(401, headers=challenge)) as registry:
        place = place_at(registry.host)
        with pytest.raises(
            ExportRefused, match=r"tokens\.elsewhere\.test, which is of another domain .* oci\.allowed_realms"
        ):
            await pushed(place)
        with pytest.raises(RegistryError, match="cannot be reached"):
            await pushed(place, allowed_realms=["tokens.elsewhere.test"])
