"""The exporter ``oci``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from importlib import import_module

from evalhub_exporter_oci.artifact import card_artifact
from evalhub_exporter_oci.dockerconfig import parse, stored
from evalhub_exporter_oci.location import location
from evalhub_exporter_oci.login import login
from evalhub_exporter_oci.settings import OciSettings
from evalhub_server.plugins import (
    Exporter,
    ExportOutcome,
    JobRecord,
    OciCoordinates,
    OutboxEntry,
    PluginContext,
    card_json,
)


class OciExporter(Exporter):
    """Pushes the evaluation card of a job that has ``exports.oci``."""

    name = "oci"

    def __init__(
        self, settings: OciSettings, context: PluginContext, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._settings = settings
        self._docker_config = context.docker_config
        self._environ = environ

    async def check(self) -> None:
        """A registry that is down, and credentials that are missing, concern single jobs only."""

    def wants(self, job: JobRecord) -> bool:
        return _coordinates(job) is not None

    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        """The same card under the same tag is pushed once; a newer card takes the tag over."""
        # This brings aiohttp, which nobody needs before the first export, and which would hold up the event loop.
        await asyncio.to_thread(import_module, "evalhub_exporter_oci.push")
        from evalhub_exporter_oci.push import push
        from evalhub_exporter_oci.session import RegistrySession

        coordinates = _coordinates(job)
        assert coordinates is not None  # noqa: S101  or it would not want the job
        settings = self._settings
        secret = await self._docker_config(job) if self._docker_config else None
        place = location(
            coordinates,
            job.id,
            insecure=settings.insecure,
            insecure_hosts=settings.insecure_registries,
            # Where others submit jobs, what listens on the server's loopback is not theirs to reach.
            own_computer=secret is None,
        )
        artifact = card_artifact(job.id, card_json(job), place.tag, coordinates.annotations)
        credentials = (
            await login(place, settings.auth_config_path, self._environ)
            if secret is None
            else stored(
                parse(secret, "the secret of exports.oci.k8s.connection"), place.host, place.repository
            )
        )
        async with RegistrySession(
            place, credentials, timeout_s=settings.http_timeout, ca_cert_path=settings.ca_cert_path
        ) as session:
            digest = await push(session, place, artifact)
        return ExportOutcome(reference=f"{place.text}@{digest}", digest=digest)


def _coordinates(job: JobRecord) -> OciCoordinates | None:
    oci = job.request.exports.oci if job.request.exports else None
    return oci.coordinates if oci else None
