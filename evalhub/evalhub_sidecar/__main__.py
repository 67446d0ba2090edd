"""``eval-runtime-sidecar [-sidecarconfig FILE]``: exit status 0 after a signal, 1 if it cannot start, 2 for wrong usage."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from evalhub_sidecar import pod_paths
from evalhub_sidecar.config import read_config
from evalhub_sidecar.errors import ConfigError
from evalhub_sidecar.termination import leave_behind

PROGRAM = "eval-runtime-sidecar"


def main(argv: Sequence[str] | None = None) -> int:
    """Run it; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Stands between adapters and the EvalHub server, the model and registries.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-sidecarconfig",
        "--sidecarconfig",
        type=Path,
        default=pod_paths.CONFIG,
        metavar="FILE",
        help=f"its configuration, JSON (default: {pod_paths.CONFIG})",
    )
    file: Path = parser.parse_args(argv).sidecarconfig
    try:
        config = read_config(file)
        from evalhub_sidecar.app import run  # what a wrong configuration need not wait for
        from evalhub_sidecar.logs import configure_logs

        configure_logs(os.environ.get("LOG_LEVEL", "info"))
        asyncio.run(run(config))
    except ConfigError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        leave_behind(str(error), os.environ, in_pod=file == pod_paths.CONFIG)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
