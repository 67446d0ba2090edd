"""An exporter for EvalHub Server: evaluation cards as objects of a bucket or files of a directory.

obstore is the client of the bucket: it signs requests, finds credentials and writes whole objects or nothing.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, cast

from msgspec import Meta, Struct

from evalhub_server.plugins import (
    Descriptor,
    Exporter,
    ExportOutcome,
    ExportRefused,
    JobRecord,
    OutboxEntry,
    PluginContext,
    StartupError,
    card_json,
    export_request,
    hookimpl,
)

if TYPE_CHECKING:
    from obstore.store import ObjectStore, S3Config


class Settings(Struct, kw_only=True, frozen=True):
    """Section ``bucket`` of config.yaml."""

    url: Annotated[
        str,
        Meta(
            description="Where cards are written. The bucket or directory must exist.",
            examples=["s3://evaluations/cards", "file:///srv/cards"],
        ),
    ] = ""
    options: Annotated[
        dict[str, str],
        Meta(
            description="Options of a bucket: `endpoint`, `region`, `access_key_id`, `secret_access_key` and others of obstore.",
            examples=[{"endpoint": "https://minio.example.com", "region": "us-east-1"}],
        ),
    ] = {}

    def __repr__(self) -> str:
        """Without the options, which contain secrets."""
        return f"Settings(url={self.url!r})"


class Request(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """What a job has in ``exports.bucket``. ``folder``: where the card is written, below the URL."""

    folder: Annotated[str, Meta(pattern=r"^[A-Za-z0-9_-]{1,100}$")] = "cards"


class BucketExporter(Exporter):
    name = "bucket"
    _store: ObjectStore

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def check(self) -> None:
        from obstore.exceptions import BaseError
        from obstore.store import from_url

        url, options = self._settings.url, self._settings.options
        if not url:
            raise StartupError("bucket.url is not set. Set it, or remove bucket from plugins.exporters.")
        try:
            if url.startswith("file:"):
                self._store = from_url(url)
            else:
                # The server retries an export, for hours; each attempt should fail soon.
                self._store = from_url(
                    url,
                    config=cast("S3Config", options),
                    client_options={"timeout": timedelta(seconds=30), "allow_http": True},
                    retry_config={"max_retries": 0},
                )
        except (BaseError, ValueError) as error:
            raise StartupError(f"bucket.url: {_first_line(error)}. Correct it, or bucket.options.") from error

    def is_requested(self, job: JobRecord) -> bool:
        return export_request(job, self.name, Request) is not None

    async def export(self, job: JobRecord, entry: OutboxEntry) -> ExportOutcome:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        request = export_request(job, self.name, Request) or Request()
        # An object of the same name is replaced, so that a repeated export leaves one.
        path = f"{request.folder}/{job.id}.json"
        try:
            await self._store.put_async(path, card_json(job), use_multipart=False)
        except (FileNotFoundError, PermissionDeniedError, UnauthenticatedError) as error:
            raise ExportRefused(f"{self._settings.url} refuses {path}: {_first_line(error)}") from error
        except BaseError as error:
            raise OSError(f"{path} cannot be written: {_first_line(error)}") from error
        return ExportOutcome(reference=f"{self._settings.url.rstrip('/')}/{path}")


def _first_line(error: Exception) -> str:
    """The text of an error of obstore without the structures that follow it."""
    return str(error).partition("\n")[0]


@hookimpl
def evalhub_exporters() -> list[Descriptor[BucketExporter, Settings]]:
    return [
        Descriptor(
            api=1,
            name="bucket",
            factory=_make,
            settings=Settings,
            request=Request,
            help="evaluation cards in a bucket or a directory (example)",
        )
    ]


def _make(settings: Settings, context: PluginContext) -> BucketExporter:
    return BucketExporter(settings)
