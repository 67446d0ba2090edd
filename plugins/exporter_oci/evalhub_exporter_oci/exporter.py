"""The exporter ``oci``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from importlib import import_module

from evalhub_exporter_oci.artifact import card_artifact
from evalhub_exporter_oci.credentials import parse_config, stored_credentials, user_credentials
from evalhub_exporter_oci.location import artifact_location
from evalhub_exporter_oci.settings import OciSettings
from evalhub_server.plugins import (
    Exporter,
    ExportOutcome,
    JobRecord,
    OciCoordinates,
    OutboxEntry,
    PluginContext,
    card_json,
    redacted,
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
        """Nothing to check: unavailable registries and missing credentials affect single jobs only."""

    def is_requested(self, job: JobRecord) -> bool:
        return _coordinates(job) is not None

    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        """Push the card. A card that is there is not pushed again; the tag moves to a newer card."""
        # aiohttp is imported with the first export, in a thread, because the import takes long.
        await asyncio.to_thread(import_module, "evalhub_exporter_oci.push")
        from evalhub_exporter_oci.addresses import AddressPolicy
        from evalhub_exporter_oci.push import push
        from evalhub_exporter_oci.session import RegistrySession

        coordinates = _coordinates(job)
        assert coordinates is not None  # noqa: S101  see wants()
        settings = self._settings
        secret = await self._docker_config(job) if self._docker_config else None
        location = artifact_location(
            coordinates,
            job.id,
            insecure=settings.insecure,
            insecure_hosts=settings.insecure_registries,
            # Tenants must not reach services on the server's loopback interface.
            own_computer=secret is None,
        )
        artifact = card_artifact(job.id, card_json(job), location.tag, redacted(coordinates.annotations))
        credentials = (
            await user_credentials(location, settings.auth_config_path, self._environ)
            if secret is None
            else stored_credentials(
                parse_config(secret, "the secret of exports.oci.k8s.connection"),
                location.host,
                location.repository,
            )
        )
        async with RegistrySession(
            location,
            credentials,
            timeout_s=settings.http_timeout,
            ca_cert_path=settings.ca_cert_path,
            allowed_realms=settings.allowed_realms,
            policy=None if secret is None else AddressPolicy(settings.allowed_registries),
        ) as session:
            digest = await push(session, location, artifact)
        return ExportOutcome(reference=f"{location.text}@{digest}", digest=digest)

    async def settle(self, job: JobRecord, entry: OutboxEntry) -> None:
        """Move the tag back, if a push that was cut short has moved it to an earlier card."""
        await self.export(job, entry)


def _coordinates(job: JobRecord) -> OciCoordinates | None:
    oci = job.request.exports.oci if job.request.exports else None
    return oci.coordinates if oci else None
