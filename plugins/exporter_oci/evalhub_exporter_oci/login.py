"""The registry credentials of the user whose server this is."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from evalhub_exporter_oci import helper
from evalhub_exporter_oci.dockerconfig import ANONYMOUS, Credentials, parse, stored
from evalhub_exporter_oci.location import Location


async def login(place: Location, auth_config_path: str, environ: Mapping[str, str]) -> Credentials:
    """What ``docker login`` has left for the registry; :data:`ANONYMOUS` if nothing.

    Read anew every time, so that a login takes effect. Raises :class:`ExportRefused`, and :class:`OSError` if the
    file cannot be read, or ``auth_config_path`` is not there.
    """
    file = config_file(auth_config_path, environ)
    try:
        document = await asyncio.to_thread(file.read_bytes)
    except FileNotFoundError:
        if auth_config_path:
            raise  # somebody said that there is one
        return ANONYMOUS
    config = parse(document, str(file))
    if name := config.helper(place.host):
        found = await helper.ask(name, place.host)
        if found != ANONYMOUS:
            return found
    return stored(config, place.host, place.repository)


def config_file(auth_config_path: str, environ: Mapping[str, str]) -> Path:
    """The setting's file, else ``config.json`` in ``DOCKER_CONFIG``, else in ``~/.docker``."""
    if auth_config_path:
        return Path(auth_config_path).expanduser()
    folder = environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path("~/.docker").expanduser()) / "config.json"
