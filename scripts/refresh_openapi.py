"""Write docs/openapi.yaml from the answer of a server of this checkout.

python scripts/refresh_openapi.py [--output docs/openapi.yaml]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import urllib.request
from pathlib import Path

from evalhub_server.cli.server import Server
from evalhub_server.logs import configure_logs
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import bundled_config_dir, load_settings

ROOT = Path(__file__).resolve().parent.parent


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Refresh docs/openapi.yaml.")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "openapi.yaml")
    output: Path = parser.parse_args(arguments).output
    configure_logs("error")
    output.write_bytes(asyncio.run(_document()))
    return 0


async def _document() -> bytes:
    settings = load_settings(local=True, configdir=bundled_config_dir(), environ={"PORT": "0"})
    async with Server(settings, load_plugins()) as server:
        serving = asyncio.create_task(server.serve(), name="server")
        try:
            return await asyncio.to_thread(_get, f"{server.url}/openapi.yaml")
        finally:
            server.stop()
            await serving


def _get(url: str) -> bytes:
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with direct.open(url) as answer:
        return answer.read()


if __name__ == "__main__":
    sys.exit(main())
