"""A storage for EvalHub Server: a DuckDB database, which is one file. What the server loads at start."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from evalhub_server.plugins import Descriptor, PluginContext, StartupError, Storage, hookimpl


class Settings(Struct, kw_only=True, frozen=True):
    """Section ``duckdb`` of config.yaml."""

    file: Annotated[
        str,
        Meta(
            description="The database; by default `evalhub.duckdb` in the data directory.",
            examples=["/var/lib/evalhub/evalhub.duckdb"],
        ),
    ] = ""


@hookimpl
def evalhub_storages() -> list[Descriptor[Storage, Settings]]:
    return [
        Descriptor(
            api=1,
            name="duckdb",
            factory=_make,
            settings=Settings,
            help="a DuckDB database in one file (example)",
        )
    ]


def _make(settings: Settings, context: PluginContext) -> Storage:
    from evalhub_storage_duckdb.storage import DuckdbStorage  # here, since it imports duckdb

    if settings.file:
        return DuckdbStorage(Path(settings.file).absolute(), shared=context.shared)
    if context.data_dir is None:
        raise StartupError("duckdb.file is not set. Set it, or start the server with --data-dir.")
    return DuckdbStorage(context.data_dir / "evalhub.duckdb", shared=context.shared)
