"""Status events to the server: one POST per change of state or phase, retried while the server is unavailable."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from evalhub_common.adapter.connection import JsonConnection, tls_context
from evalhub_common.adapter.console import say
from evalhub_common.adapter.errors import BenchmarkFailed, ConnectionFailed, EventRefused, JobClosed
from evalhub_common.adapter.job import JobAddress
from evalhub_common.adapter.json_values import JsonObject, dump, finite
from evalhub_common.adapter.model_errors import error_message
from evalhub_common.adapter.phases import Phase
from evalhub_common.backoff import Backoff
from evalhub_common.callback_tokens import redact_callback_tokens

EVENT_TIMEOUT_S = 10.0
TERMINAL_PATIENCE_S = 120.0
PHASE_PATIENCE_S = 2.0
PROGRESS_INTERVAL_S = 1.0
LOST_PROGRESS_INTERVAL_S = 15.0
RETRY = Backoff(first_s=0.1, max_s=5.0, jitter=0.5)


class EventSender:
    """Sends the events of one benchmark, in order, over one connection.

    A terminal event is retried for two minutes, because the server may be restarting and the result must not be
    lost. An event that only names a phase is abandoned after two seconds, and the following ones are tried once
    until one is delivered.
    """

    def __init__(
        self,
        address: JobAddress,
        environ: Mapping[str, str],
        progress_interval_s: float = PROGRESS_INTERVAL_S,
    ) -> None:
        """Raises OSError or ValueError if the CA bundle or token file of the environment is unusable."""
        self._address = address
        self._started_at = _now()
        self._phase_patience_s = PHASE_PATIENCE_S
        self._progress_interval_s = progress_interval_s
        self._progress: JsonObject | None = None
        self._next_progress = 0.0
        path = (
            address.callback.path.rstrip("/")
            + f"/api/v1/evaluations/jobs/{quote(address.job_id, safe='')}/events"
        )
        target = replace(address.callback, path=path)
        # The variables that the SDK's adapters read, so that one provider environment suits both.
        token_file = environ.get("EVALHUB_AUTH_TOKEN_PATH")
        token = Path(token_file).read_text(encoding="utf-8").strip() if token_file else ""
        verify = environ.get("EVALHUB_INSECURE", "").lower() not in ("1", "true", "yes")
        context = tls_context(target, environ.get("EVALHUB_CA_BUNDLE_PATH") or None, verify=verify)
        self._url = redact_callback_tokens(target.url)  # for messages
        self._connection = JsonConnection(
            target,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout_s=EVENT_TIMEOUT_S,
            context=context,
        )

    def running(self, phase: Phase, *, total: int | None = None, data_revision: str = "") -> None:
        """Report the current phase. The loss of this event is tolerated.

        ``total`` is the number of samples that the phase begins with, ``data_revision`` the commit of the test data.

        Raises:
            JobClosed, EventRefused: the benchmark need not continue.
        """
        event = self._event("running", phase=phase)
        self._next_progress = time.monotonic() + self._progress_interval_s
        if total is not None:
            self._progress = {"done": 0, "total": total}
        if self._progress is not None:
            event["progress"] = self._progress
        if data_revision:
            event["job_meta"] = {"resolved_sha": data_revision}
        if self._deliver(event, self._phase_patience_s):
            self._phase_patience_s = PHASE_PATIENCE_S
        else:
            self._phase_patience_s = 0.0
            say(f"event '{phase}' was not delivered: continuing without it")

    def progress(self, done: int, total: int, metrics: Callable[[], Mapping[str, float]]) -> None:
        """Report how many samples are done, with the metrics so far: once per interval at most, and without a retry.

        The events of later phases repeat the last progress.

        Raises:
            JobClosed, EventRefused: the benchmark need not continue.
        """
        self._progress = {"done": done, "total": total}
        if time.monotonic() < self._next_progress:
            return
        event = self._event("running", phase="running_evaluation")
        event |= {"progress": self._progress, "metrics": dict(metrics())}
        delivered = self._deliver(event, patience_s=0.0)
        # The wait for an unavailable server is not repeated with every sample.
        interval_s = self._progress_interval_s if delivered else LOST_PROGRESS_INTERVAL_S
        self._next_progress = time.monotonic() + interval_s

    def completed(
        self,
        metrics: Mapping[str, float],
        *,
        additional_info: JsonObject,
        samples_file: Path | None,
        warning: str | None,
    ) -> None:
        """Report the result. All metrics are finite numbers; those of ``additional_info`` become null if they are not.

        Raises:
            JobClosed, EventRefused: it was not accepted, or the server was unavailable for two minutes.
        """
        event = self._event("completed", phase="completed")
        event["completed_at"] = _now()
        event["metrics"] = dict(metrics)
        event["metrics_schema"] = [{"name": name, "type": "numeric"} for name in metrics]
        event["additional_info"] = finite(additional_info)
        if samples_file:
            event["artifacts"] = {"samples": str(samples_file)}
            event["logs_path"] = str(samples_file)
        if warning:
            event["warning_message"] = _message(warning, "completed_with_warnings")
        self._deliver_or_raise(event)

    def failed(self, error: BenchmarkFailed) -> None:
        """Report a failure. Raises as :meth:`completed`."""
        event = self._event("failed")
        event["completed_at"] = _now()
        event["error_message"] = _message(str(error), error.code)
        self._deliver_or_raise(event)

    def close(self) -> None:
        """Close the connection to the server."""
        self._connection.close()

    def _event(self, status: str, *, phase: Phase | None = None) -> JsonObject:
        event: JsonObject = {
            "provider_id": self._address.provider_id,
            "id": self._address.benchmark_id,
            "benchmark_index": self._address.benchmark_index,
            "status": status,
            "started_at": self._started_at,
        }
        if phase:
            event["phase"] = phase
        return event

    def _deliver_or_raise(self, event: JsonObject) -> None:
        if not self._deliver(event, TERMINAL_PATIENCE_S):
            say(f"the result was not reported; it was: {dump(event)}")
            raise EventRefused(f"{self._url} could not be reached for {TERMINAL_PATIENCE_S:g} s")

    def _deliver(self, event: JsonObject, patience_s: float) -> bool:
        """Post until the server accepts it; False after ``patience_s``.

        Retries are safe: the server treats an identical event as a success.
        """
        body = dump({"benchmark_status_event": event}).encode()
        deadline = time.monotonic() + patience_s
        delays = RETRY.delays()
        while True:
            problem = self._post(body)
            if problem is None:
                return True
            wait_s = next(delays)
            if time.monotonic() + wait_s > deadline:
                return False
            say(f"event '{event.get('phase', event['status'])}' not delivered yet ({problem}): retrying")
            time.sleep(wait_s)

    def _post(self, body: bytes) -> str | None:
        """One attempt: None if accepted, else the text of a temporary problem."""
        try:
            answer = self._connection.post(body)
        except ConnectionFailed as failure:
            return str(failure)
        if 200 <= answer.status < 300:
            return None
        message = f"{answer.status}: {error_message(answer.body)[:500]}"
        if answer.status == 409:
            raise JobClosed(message)
        if answer.status == 429 or answer.status >= 500:
            return message
        raise EventRefused(f"{self._url} answered {message}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _message(text: str, code: str) -> JsonObject:
    return {"message": text, "message_code": code, "message_origin": "adapter"}
