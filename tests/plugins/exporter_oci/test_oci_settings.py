"""The section ``oci``, and which credentials an export takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evalhub_exporter_oci.dockerconfig import ANONYMOUS, Credentials
from evalhub_exporter_oci.exporter import OciExporter
from evalhub_exporter_oci.location import location
from evalhub_exporter_oci.settings import OciSettings, complete
from evalhub_server.errors import PluginError
from evalhub_server.models.job import Exports, OciCoordinates, OciExport
from evalhub_server.plugins import Exporter, ExportRefused, JobRecord, PluginContext, SettingsError
from evalhub_server.plugins.manager import load_plugins
from evalhub_server.testing.builders import a_job

COORDINATES = OciCoordinates(oci_host="quay.io", oci_repository="team/results")


def make(section: dict[str, Any], **context: Any) -> Exporter:
    return load_plugins(environ={"EVALHUB_LOAD_PLUGINS": ""}).make(
        Exporter, "oci", {"oci": section}, PluginContext(**context)
    )


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"insecure_registries": ["http://a"]}, r"^oci\.insecure_registries: 'http://a' is no host"),
        ({"ca_cert_path": "/gone.pem"}, r"^oci\.ca_cert_path: /gone\.pem is no file"),
        ({"http_timeout": "0s"}, r"^oci\.http_timeout: "),
        ({"http_timeout": 30}, r"^oci\.http_timeout: 30 has no unit"),
        ({"insecur": True}, r"^oci\.insecur: unknown key \(did you mean insecure"),
    ],
)
def test_a_section_that_cannot_work_is_refused(section: dict[str, Any], complaint: str):
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
    assert not exporter.wants(job)
    assert exporter.wants(a_job_that_asks())


def a_job_that_asks() -> JobRecord:
    job = a_job()
    return replace(job, request=replace(job.request, exports=Exports(oci=OciExport(coordinates=COORDINATES))))


async def credentials_for(exporter: OciExporter) -> Credentials:
    return await exporter._credentials(a_job_that_asks(), location(COORDINATES, "a-job"))


def a_config(folder: Path, name: str, user: str) -> Path:
    file = folder / name
    file.write_text(json.dumps({"auths": {"quay.io": {"username": user, "password": "p"}}}), "utf-8")
    return file


async def test_the_docker_configuration_of_the_user_is_read_anew_for_every_export(tmp_path: Path):
    exporter = OciExporter(OciSettings(), PluginContext(), {"DOCKER_CONFIG": str(tmp_path)})
    assert await credentials_for(exporter) == ANONYMOUS
    for user in ("first", "second"):
        a_config(tmp_path, "config.json", user)
        assert (await credentials_for(exporter)).username == user


async def test_a_file_that_is_set_must_be_there(tmp_path: Path):
    a_config(tmp_path, "config.json", "nobody")
    exporter = OciExporter(
        OciSettings(auth_config_path=str(tmp_path / "own.json")),
        PluginContext(),
        {"DOCKER_CONFIG": str(tmp_path)},
    )
    with pytest.raises(FileNotFoundError):
        await credentials_for(exporter)
    a_config(tmp_path, "own.json", "me")
    assert (await credentials_for(exporter)).username == "me"


async def test_a_tenant_s_secret_is_used_alone_and_runs_no_program(tmp_path: Path):
    a_config(tmp_path, "config.json", "the-server-itself")
    secret: dict[str, Any] = {}

    async def docker_config(job: JobRecord) -> bytes | None:
        return json.dumps(secret).encode()

    exporter = OciExporter(
        OciSettings(), PluginContext(docker_config=docker_config), {"DOCKER_CONFIG": str(tmp_path)}
    )
    secret["credsStore"] = "a-program-of-the-tenant"
    assert await credentials_for(exporter) == ANONYMOUS
    secret["auths"] = {"quay.io": {"username": "the-tenant", "password": "p"}}
    assert (await credentials_for(exporter)).username == "the-tenant"
    secret["auths"] = []
    with pytest.raises(ExportRefused, match=r"^the secret of exports\.oci\.k8s\.connection is no docker"):
        await credentials_for(exporter)
