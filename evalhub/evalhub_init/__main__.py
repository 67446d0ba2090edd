"""``eval-runtime-init``: fetches test data. Exit status 0 on success, 1 with the reason in the termination message.

The status is 143 after SIGTERM, as shells report it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from evalhub_common.termination import write_termination_message
from evalhub_init.errors import InitError
from evalhub_init.pod_paths import PodPaths
from evalhub_init.reporter import find_reporter

PROGRAM = "eval-runtime-init"
TERMINATION_LOG = "/dev/termination-log"
STOPPED = 128 + signal.SIGTERM


def main() -> int:
    """Fetch the test data that the environment names, and return the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        paths = PodPaths.from_environ(os.environ)
        reporter = find_reporter(os.environ)
        if reporter is not None:
            reporter.started()
        summary = asyncio.run(_fetch(os.environ, paths))
        if reporter is not None:
            reporter.fetched(paths)
    except InitError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        _failed("Stopped before the test data had arrived.")
        return STOPPED
    except Exception as error:  # noqa: BLE001  the job's message is all that users see of it
        return _failed(f"The test data cannot be fetched: {type(error).__name__}: {error}")
    sys.stderr.write(f"{PROGRAM}: {summary}\n")
    return 0


async def _fetch(environ: Mapping[str, str], paths: PodPaths) -> str:
    """Fetch from the source that the environment names, else from S3."""
    if environ.get("TEST_DATA_GIT_URL", "").strip():
        from evalhub_init.git_data import fetch_git

        return await fetch_git(environ, paths)
    if environ.get("TEST_DATA_HF_REPO_ID", "").strip():
        from evalhub_init.hf import fetch_hf

        return await fetch_hf(environ, paths)
    from evalhub_init.s3 import fetch_s3

    return await fetch_s3(environ, paths)


def _failed(text: str) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    write_termination_message(
        text, os.environ, default=TERMINATION_LOG, in_pod=Path(TERMINATION_LOG).exists()
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
