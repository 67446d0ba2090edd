"""The section ``oci``, and the credentials of an export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evalhub_common.docker_credentials import RegistryCredentials
from evalhub_exporter_oci.exporter import OciExporter
from evalhub_exporter_oci.session import RegistryError
from evalhub_exporter_oci.settings import OciSettings, complete
from evalhub_server.domain.record import with_changes
from evalhub_server.errors import PluginError
from evalhub_server.models.job import Exports, OciCoordinates, OciExport
from evalhub_server.plugins import (
    Exporter,
    ExportRefused,
    JobRecord,
    OutboxEntry,
    PluginContext,
    SettingsError,
)
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.testing.builders import EPOCH, a_job
from harness.answering import AnsweringServer, Reply
from harness.proxy import RunningProxy

OWED = OutboxEntry(kind="exporter", name="oci", event="card", since=EPOCH)


def make(section: dict[str, Any], **context: Any) -> Exporter:
    return load_plugins(environ={"EVALHUB_LOAD_PLUGINS": ""}).create(
        Exporter, "oci", {"oci": section}, PluginContext(**context)
    )


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"insecure_registries": ["http://a"]}, r"^oci\.insecure_registries: 'http://a' is not a host"),
        (
            {"allowed_registries": ["http://a"]},
            r"^oci\.allowed_registries: 'http://a' is neither a host nor a network",
        ),
        ({"allowed_registries": ["10.0.0.0/99"]}, r"^oci\.allowed_registries: '10\.0\.0\.0/99' is neither"),
        ({"allowed_realms": ["https://a.test/token"]}, r"^oci\.allowed_realms: .* is not a host"),
        ({"allowed_realms": ["a.test:443"]}, r"^oci\.allowed_realms: 'a\.test:443' is not a host"),
        ({"ca_cert_path": "/gone.pem"}, r"^oci\.ca_cert_path: /gone\.pem is not a file"),
        ({"http_timeout": "0s"}, r"^oci\.http_timeout: "),
        ({"http_timeout": 30}, r"^oci\.http_timeout: 30 has no unit"),
        ({"insecur": True}, r"^oci\.insecur: unknown key \(did you mean insecure"),
    ],
)
def test_an_invalid_section_is_refused(section: dict[str, Any], complaint: str):
    with pytest.raises((SettingsError, PluginError), match=complaint):
        make(section)


def test_a_registry_that_the_sidecar_trusts_is_trusted_here(tmp_path: Path):
    ca = tmp_path / "ca.pem"
    ca.touch()
    context = PluginContext(sections={"sidecar": {"oci": {"ca_cert_path": str(ca)}}})
    assert complete(OciSettings(), context).ca_cert_path == str(ca)
    own = tmp_path / "own.pem"
    own.touch()
    assert complete(OciSettings(ca_cert_path=str(own)), context).ca_cert_path == str(own)


def test_only_jobs_that_ask_are_exported():
    exporter = make({})
    job = a_job()
    assert not exporter.is_requested(job)
    assert exporter.is_requested(a_job_that_asks())


def a_job_that_asks(host: str = "registry.example") -> JobRecord:
    job = a_job()
    coordinates = OciCoordinates(oci_host=host, oci_repository="team/results")
    return with_changes(
        job, request=replace(job.request, exports=Exports(oci=OciExport(coordinates=coordinates)))
    )


async def test_a_tenant_s_secret_is_used_alone_and_runs_no_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A registry behind a proxy that records the user, which must not be the server's, who also has credentials and a helper."""
    refusal = Reply(401, headers={"WWW-Authenticate": 'Basic realm="x"'})
    secret: dict[str, Any] = {}

    async def docker_config(job: JobRecord) -> bytes | None:
        return json.dumps(secret).encode()

    host = "registry.test"
    with AnsweringServer(lambda request: refusal) as registry, RunningProxy({host: registry.port}) as proxy:
        for name, value in proxy.environment("").items():
            monkeypatch.setenv(name, value)
        own = {"auths": {host: {"username": "the-server-itself", "password": "p"}}}
        (tmp_path / "config.json").write_text(json.dumps(own), "utf-8")
        exporter = OciExporter(
            OciSettings(insecure_registries=(host,)),
            PluginContext(docker_config=docker_config),
            {"DOCKER_CONFIG": str(tmp_path)},
        )
        job = a_job_that_asks(host)
        secret["credsStore"] = "a-program-of-the-tenant"
        with pytest.raises(RegistryError, match="there are no credentials for it"):
            await exporter.export(job, OWED)
        secret["auths"] = {host: {"username": "the-tenant", "password": "p"}}
        with pytest.raises(RegistryError, match="check the credentials"):
            await exporter.export(job, OWED)
        secret["auths"] = []
        with pytest.raises(
            ExportRefused, match=r"^the secret of exports\.oci\.k8s\.connection is not a docker"
        ):
            await exporter.export(job, OWED)
    sent = {request.headers.get("authorization") for request in registry.requests}
    assert sent == {None, RegistryCredentials(username="the-tenant", password="p").basic}


async def test_a_tenants_job_does_not_reach_the_servers_loopback():
    async def docker_config(job: JobRecord) -> bytes | None:
        return b"{}"

    with AnsweringServer(lambda request: Reply()) as service:
        exporter = OciExporter(OciSettings(), PluginContext(docker_config=docker_config), {})
        with pytest.raises(ExportRefused, match="would be accessed over plain HTTP"):
            await exporter.export(a_job_that_asks(f"http://{service.host}"), OWED)
        allowed = OciSettings(insecure=True, allowed_registries=(service.host, "localhost", "127.0.0.0/8"))
        exporter = OciExporter(allowed, PluginContext(docker_config=docker_config), {})
        for host in (service.host, f"127.0.0.1:{service.port}", f"127.1:{service.port}"):
            with pytest.raises(RegistryError, match=rf"^{host} cannot be reached; see the server's log$"):
                await exporter.export(a_job_that_asks(host), OWED)
    assert service.requests == []
