"""Reports to the server while test data are fetched: that it has begun, and the commit. In pods the sidecar reports it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping

from evalhub_common.adapter.errors import AdapterError
from evalhub_common.adapter.events import EventSender
from evalhub_common.adapter.job import open_job
from evalhub_init.pod_paths import PodPaths

REPORT = "TEST_DATA_REPORT"
"""Set where there is no sidecar: events are sent to the callback URL of the job specification."""


class Reporter:
    """Sends the events. The data matter more than the reports, so that a report that fails is only logged."""

    def __init__(self, events: EventSender) -> None:
        self._events = events

    def started(self) -> None:
        """Report the phase, so that a long fetch does not count as a silent adapter."""
        sys.stderr.write("Fetching the test data\n")
        self._try(lambda: self._events.running("loading_data"))

    def fetched(self, paths: PodPaths) -> None:
        """Report the commit of the data, if their source has commits."""
        commit = paths.read_commit()
        if commit:
            self._try(lambda: self._events.running("loading_data", data_revision=commit))

    def _try(self, report: Callable[[], None]) -> None:
        try:
            report()
        except AdapterError as error:
            sys.stderr.write(f"The server did not accept the report about the test data: {error}\n")


def find_reporter(environ: Mapping[str, str]) -> Reporter | None:
    """The reporter of a run without a sidecar; None in a pod, and if the job specification is unusable."""
    if not environ.get(REPORT):
        return None
    try:
        address, _ = open_job(environ)
        return Reporter(EventSender(address, environ))
    except (AdapterError, OSError, ValueError) as error:
        sys.stderr.write(f"The test data are fetched without reports: {error}\n")
        return None
