"""An exporter for EvalHub Server: evaluation cards as files of a directory, for jobs that request ``exports.my-plugin``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from msgspec import Meta, Struct

from evalhub_server.plugins import (
    Descriptor,
    Exporter,
    ExportOutcome,
    JobRecord,
    OutboxEntry,
    PluginContext,
    StartupError,
    card_json,
    export_request,
    hookimpl,
)


class Settings(Struct, kw_only=True, frozen=True):
    """Section ``my-plugin`` of config.yaml. Descriptions are shown by ``eval-hub-server plugins my-plugin``."""

    directory: Annotated[str, Meta(description="Where the files are written; it must exist.")] = ""


class Request(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a job has in ``exports.my-plugin``. ``label``: the beginning of the file's name."""

    label: str = "card"


class MyPluginExporter(Exporter):
    name = "my-plugin"

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.directory

    async def check(self) -> None:
        if not self._directory:
            raise StartupError(
                "my-plugin.directory is not set. Set it, or remove my-plugin from plugins.exporters."
            )

    def is_requested(self, job: JobRecord) -> bool:
        return export_request(job, self.name, Request) is not None

    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        request = export_request(job, self.name, Request) or Request()
        # A file of the same name is replaced, so that a repeated export leaves one.
        file = Path(self._directory, f"{Path(request.label).name}-{job.id}.json")
        await asyncio.to_thread(_replace, file, card_json(job))
        return ExportOutcome(reference=str(file))


def _replace(file: Path, data: bytes) -> None:
    """Write the whole file or nothing. Raises OSError, which the server retries."""
    part = file.with_suffix(f".{uuid4()}.part")
    part.write_bytes(data)
    part.replace(file)


@hookimpl
def evalhub_exporters() -> list[Descriptor[MyPluginExporter, Settings]]:
    return [
        Descriptor(
            api=1,
            name="my-plugin",
            factory=_make,
            settings=Settings,
            request=Request,
            help="evaluation cards as files of a directory",
        )
    ]


def _make(settings: Settings, context: PluginContext) -> MyPluginExporter:
    return MyPluginExporter(settings)
