"""The exporter ``oci``."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from importlib import import_module

from evalhub_exporter_oci import helper
from evalhub_exporter_oci.artifact import card_artifact
from evalhub_exporter_oci.dockerconfig import ANONYMOUS, Credentials, config_file, parse, stored
from evalhub_exporter_oci.location import Location, location
from evalhub_exporter_oci.settings import OciSettings
from evalhub_server.domain.card import card_json
from evalhub_server.models.job import OciCoordinates
from evalhub_server.plugins import Exporter, ExportOutcome, ExportRecord, JobRecord, PluginContext


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

    async def export(self, job: JobRecord, owed: ExportRecord) -> ExportOutcome:
        """The same card under the same tag is pushed once; a newer card takes the tag over."""
        # This brings aiohttp, which nobody needs before the first export, and which would hold up the event loop.
        await asyncio.to_thread(import_module, "evalhub_exporter_oci.push")
        from evalhub_exporter_oci.push import push
        from evalhub_exporter_oci.session import RegistrySession

        coordinates = _coordinates(job)
        assert coordinates is not None  # noqa: S101  or it would not want the job
        settings = self._settings
        place = location(
            coordinates, job.id, insecure=settings.insecure, insecure_hosts=settings.insecure_registries
        )
        artifact = card_artifact(job.id, card_json(job), place.tag, coordinates.annotations)
        async with RegistrySession(
            place,
            await self._credentials(job, place),
            timeout_s=settings.http_timeout,
            ca_cert_path=settings.ca_cert_path,
        ) as session:
            digest = await push(session, place, artifact)
        return ExportOutcome(reference=f"{place.text}@{digest}", digest=digest)

    async def _credentials(self, job: JobRecord, place: Location) -> Credentials:
        """Those that the runtime keeps for the job's tenant, else those of the server's user."""
        given = await self._docker_config(job) if self._docker_config else None
        if given is not None:
            return stored(
                parse(given, "the secret of exports.oci.k8s.connection"), place.host, place.repository
            )
        file = config_file(self._settings.auth_config_path, self._environ)
        try:
            document = await asyncio.to_thread(file.read_bytes)
        except FileNotFoundError:
            if self._settings.auth_config_path:
                raise  # somebody said that there is one
            return ANONYMOUS
        config = parse(document, str(file))
        if name := config.helper(place.host):
            found = await helper.ask(name, place.host)
            if found != ANONYMOUS:
                return found
        return stored(config, place.host, place.repository)


def _coordinates(job: JobRecord) -> OciCoordinates | None:
    oci = job.request.exports.oci if job.request.exports else None
    return oci.coordinates if oci else None
