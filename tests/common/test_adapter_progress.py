"""Progress from a thread: what arrives at a real server, and what ends the process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from evalhub_common.adapter.connection import parse_url
from evalhub_common.adapter.events import EventSender
from evalhub_common.adapter.job import JobAddress
from evalhub_common.adapter.progress import ProgressReporter
from harness.answering import Reply
from harness.quickstart import CallbackServer, error_answer
from harness.waiting import wait_until

CLOSED = """
import sys, threading
from pathlib import Path
from evalhub_common.adapter.connection import parse_url
from evalhub_common.adapter.events import EventSender
from evalhub_common.adapter.job import JobAddress
from evalhub_common.adapter.progress import ProgressReporter

address = JobAddress(
    job_id="j", provider_id="p", benchmark_id="b", benchmark_index=0, callback=parse_url(sys.argv[1]), directory=Path()
)
with ProgressReporter(EventSender(address, {}, progress_interval_s=0.0), interval_s=0.01) as progress:
    progress.update(1, 2)
    threading.Event().wait(30)
"""


def test_the_newest_progress_is_sent_while_the_framework_works() -> None:
    with CallbackServer() as callback:
        address = JobAddress(
            job_id="j",
            provider_id="p",
            benchmark_id="b",
            benchmark_index=0,
            callback=parse_url(callback.url),
            directory=Path(),
        )
        sender = EventSender(address, {}, progress_interval_s=0.0)
        with ProgressReporter(sender, interval_s=0.01) as progress:
            progress.update(1, 4, {"acc": 1.0})
            wait_until(lambda: callback.progress, "the first progress")
            progress.update(3, 4, {"acc": 0.5})
            wait_until(lambda: len(callback.progress) == 2, "the second progress")
            progress.update(4, 4)
        sender.running("post_processing")
        sender.close()
    first, second, *_ = callback.progress
    assert (first["progress"], first["metrics"]) == ({"done": 1, "total": 4}, {"acc": 1.0})
    assert (second["progress"], second["metrics"]) == ({"done": 3, "total": 4}, {"acc": 0.5})
    assert callback.last["progress"] == {"done": 4, "total": 4}


@pytest.mark.parametrize(
    ("answer", "status", "line"),
    [
        (error_answer(409, "cancelled"), 0, "the job is closed: stopping (409: cancelled)"),
        (error_answer(404, "unknown job"), 1, "events are refused: stopping"),
    ],
)
def test_a_refused_event_ends_the_process(answer: Reply, status: int, line: str) -> None:
    with CallbackServer(lambda _: answer) as callback:
        run = subprocess.run(
            [sys.executable, "-c", CLOSED, callback.url],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert (run.returncode, run.stderr) == (status, "")
    assert line in run.stdout
