"""The contract of an exporter, over pushes to a real registry with a password."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from msgspec.structs import replace

from evalhub_exporter_oci.exporter import OciExporter
from evalhub_exporter_oci.settings import OciSettings
from evalhub_server.plugins import (
    Exporter,
    Exports,
    JobRecord,
    OciCoordinates,
    OciExport,
    PluginContext,
    with_changes,
)
from evalhub_server.testing import ExporterContract
from harness.outages import Switchable
from harness.registry import PASSWORD, USER, RunningRegistry, needs_registry

pytestmark = needs_registry

LOGIN = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
AS_ROBOT = {"Authorization": f"Basic {LOGIN}"}
REPOSITORY = "team/cards"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningRegistry]:
    folder = tmp_path_factory.mktemp("registry")
    with RunningRegistry(folder, auth=RunningRegistry.basic(folder)) as running:
        yield running


@pytest.fixture(scope="module")
def proxy(registry: RunningRegistry) -> Iterator[Switchable]:
    with Switchable(registry.port) as running:
        yield running


class TestOciExporter(ExporterContract):
    secrets = (PASSWORD, LOGIN)

    @pytest.fixture(autouse=True)
    def target(self, registry: RunningRegistry, proxy: Switchable) -> None:
        self.registry, self.proxy = registry, proxy

    def make_exporter(self, directory: Path) -> Exporter:
        file = directory / "docker.json"
        file.write_text(json.dumps({"auths": {f"127.0.0.1:{self.proxy.port}": {"auth": LOGIN}}}))
        return OciExporter(OciSettings(auth_config_path=str(file)), PluginContext())

    def requested(self, job: JobRecord) -> JobRecord:
        host = f"http://127.0.0.1:{self.proxy.port}"
        coordinates = OciCoordinates(oci_host=host, oci_repository=REPOSITORY)
        exports = Exports(oci=OciExport(coordinates=coordinates))
        return with_changes(job, request=replace(job.request, exports=exports))

    async def exported(self, job: JobRecord) -> Mapping[str, object]:
        accept = {"Accept": "application/vnd.oci.image.manifest.v1+json", **AS_ROBOT}
        found: dict[str, object] = {}
        for tag in self.registry.tags(REPOSITORY, AS_ROBOT):
            if tag.endswith(job.id):
                path = f"/v2/{REPOSITORY}/manifests/{tag}"
                (layer,) = self.registry.call("GET", path, accept).body["layers"]
                blob = f"/v2/{REPOSITORY}/blobs/{layer['digest']}"
                found[tag] = self.registry.call("GET", blob, AS_ROBOT).body
        return found

    def unavailable(self) -> AbstractContextManager[object]:
        return self.proxy.answering(503)

    def refusing(self) -> AbstractContextManager[object]:
        return self.proxy.answering(400)
