"""``eval-runtime-sidecar [-sidecarconfig FILE]``: exit status 0 after a signal, 1 if it cannot start, 2 for wrong usage."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from evalhub_common.termination import write_termination_message
from evalhub_sidecar import pod_paths
from evalhub_sidecar.config import read_config
from evalhub_sidecar.errors import ConfigError

PROGRAM = "eval-runtime-sidecar"
TERMINATION_LOG = "/data/termination-log"
"""The file that a pod's manifest names, as the released server's does."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the sidecar and return the exit status."""
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description="Proxy between an adapter and the EvalHub server, models, MLflow and registries.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "-sidecarconfig",
        "--sidecarconfig",
        type=Path,
        default=pod_paths.CONFIG,
        metavar="FILE",
        help=f"configuration file, JSON (default: {pod_paths.CONFIG})",
    )
    file: Path = parser.parse_args(argv).sidecarconfig
    try:
        config = read_config(file)
        from evalhub_sidecar.app import run  # expensive, and not needed to report a wrong configuration
        from evalhub_sidecar.logs import configure_logs

        configure_logs(os.environ.get("LOG_LEVEL", "info"))
        asyncio.run(run(config))
    except ConfigError as error:
        sys.stderr.write(f"{PROGRAM}: {error}\n")
        write_termination_message(
            str(error), os.environ, default=TERMINATION_LOG, in_pod=file == pod_paths.CONFIG
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
