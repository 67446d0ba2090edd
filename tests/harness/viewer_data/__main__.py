"""Run a server with the data of the viewer's tests: ``PYTHONPATH=tests python -m harness.viewer_data [--port 8090]``.

Prints its address and the ids of its jobs, reports progress of the running job, and stops at Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import itertools
import signal
import tempfile
import time
from pathlib import Path

from harness.viewer_data.server import PAST_JOBS, ViewerServer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--past-jobs", type=int, default=PAST_JOBS, help="number of small finished jobs")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM):  # a background job of a shell ignores the first
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="evalhub-viewer-") as folder:
        server = ViewerServer(Path(folder), past_jobs=options.past_jobs, port=options.port)
        with server:
            show(server)
            try:
                for step in itertools.count(1):
                    time.sleep(3)
                    server.advance(732 + step * 4 % 460)
            except KeyboardInterrupt:
                for number in (signal.SIGINT, signal.SIGTERM):
                    signal.signal(number, signal.SIG_IGN)


def show(server: ViewerServer) -> None:
    """Print the address of the pages and the ids of the jobs."""
    print(f"http://127.0.0.1:{server.port}/ui")
    jobs = server.jobs
    states = {"running": jobs.running, "queued": jobs.queued, "hostile": jobs.hostile, "rerun": jobs.rerun}
    for name, job_id in (*jobs.suites.items(), *states.items()):
        print(f"{name:10} {job_id}", flush=True)


if __name__ == "__main__":
    main()
