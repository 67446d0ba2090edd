"""``eval-runtime-init``: exit status 0 when the test data are there, 1 with the reason in the termination message."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from evalhub_init.errors import InitError
from evalhub_init.pod_paths import Places
from evalhub_sidecar.termination import leave_behind

PROGRAM = "eval-runtime-init"
TERMINATION_LOG = "/dev/termination-log"


def main() -> int:
    """Fetch what the environment names; returns the exit status."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        done = asyncio.run(_fetch(os.environ))
    except InitError as error:
        return _failed(str(error))
    except KeyboardInterrupt:
        return _failed("The pod was stopped before the test data had arrived.")
    except Exception as error:  # noqa: BLE001  whoever submitted the job sees this text and nothing else
        return _failed(f"The test data cannot be fetched: {type(error).__name__}: {error}")
    sys.stderr.write(f"{PROGRAM}: {done}\n")
    return 0


async def _fetch(environ: Mapping[str, str]) -> str:
    """The first source that the environment names; S3 if it names no other."""
    places = Places.of(environ)
    if environ.get("TEST_DATA_GIT_URL", "").strip():
        from evalhub_init.git_data import fetch_git

        return await fetch_git(environ, places)
    if environ.get("TEST_DATA_HF_REPO_ID", "").strip():
        from evalhub_init.hf import fetch_hf

        return await fetch_hf(environ, places)
    from evalhub_init.s3 import fetch_s3

    return await fetch_s3(environ, places)


def _failed(text: str) -> int:
    sys.stderr.write(f"{PROGRAM}: {text}\n")
    leave_behind(text, os.environ, in_pod=Path(TERMINATION_LOG).exists(), default=TERMINATION_LOG)
    return 1


if __name__ == "__main__":
    sys.exit(main())
