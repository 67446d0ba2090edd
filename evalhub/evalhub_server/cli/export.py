"""``eval-hub-server export``: tables of results from the server, to a file or standard output."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from evalhub_server.cli.output import write_bytes
from evalhub_server.cli.server_choice import open_client

_SUFFIXES = {".csv": "csv", ".json": "json", ".parquet": "parquet", ".md": "md", ".tex": "latex"}


def export(
    server: str | None,
    jobs: Sequence[str],
    table_format: Any,
    level: Any,
    output: Path | None,
    filters: Mapping[str, Any],
) -> int:
    given = {name: value for name, value in filters.items() if value}
    if jobs and given:
        raise click.UsageError("Jobs and filters exclude each other.")
    chosen: Any = table_format or (_SUFFIXES.get(output.suffix.lower()) if output else None) or "csv"
    if chosen == "parquet" and output is None and sys.stdout.isatty():
        raise click.UsageError("Parquet is not text; write it to a file with --output.")
    with open_client(server) as client:
        chunks = client.export(chosen, level, jobs=jobs, **given)
        if output is None:
            for chunk in chunks:
                write_bytes(chunk)
        else:
            _write_file(output, chunks)
    return 0


def _write_file(path: Path, chunks: Iterator[bytes]) -> None:
    """Write the file once all of it has arrived, so that an incomplete one never has its name."""
    first = next(chunks, b"")  # errors of the server come first
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("wb") as file:
            file.write(first)
            file.writelines(chunks)
        temporary.replace(path)
    except OSError as error:
        error.filename = str(path)  # the name that the user knows
        raise
    finally:
        temporary.unlink(missing_ok=True)
