"""Reporting to the server: one POST per change of state or phase, repeated while the server is away."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from evalhub_quickstart.console import say
from evalhub_quickstart.errors import BenchmarkFailed, ConnectionFailed, EventRefused, JobClosed
from evalhub_quickstart.job import JobAddress
from evalhub_quickstart.jsonvalue import JsonObject, dump
from evalhub_quickstart.transport import JsonConnection, tls_context
from evalhub_quickstart.wire import error_message

Phase = Literal[
    "initializing",
    "loading_data",
    "running_evaluation",
    "post_processing",
    "persisting_artifacts",
    "completed",
]

EVENT_TIMEOUT_S = 10.0
TERMINAL_PATIENCE_S = 120.0
PHASE_PATIENCE_S = 2.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0


class EventSender:
    """Sends the events of one benchmark, in order, over one connection.

    A terminal event is repeated for two minutes, because the server may be restarting and the result is all
    that counts. An event that only names a phase is given up after two seconds, and the next ones are tried
    once, until one arrives.
    """

    def __init__(self, address: JobAddress, environ: Mapping[str, str]) -> None:
        """Raises OSError or ValueError if the CA bundle or token file of the environment is unusable."""
        self._address = address
        self._started_at = _now()
        self._phase_patience_s = PHASE_PATIENCE_S
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
        self._url = target.url
        self._connection = JsonConnection(
            target,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout_s=EVENT_TIMEOUT_S,
            context=context,
        )

    def running(self, phase: Phase) -> None:
        """Say that work goes on. Losing this event is tolerated.

        Raises:
            JobClosed, EventRefused: there is no point in going on.
        """
        event = self._event("running", phase=phase)
        if self._deliver(event, self._phase_patience_s):
            self._phase_patience_s = PHASE_PATIENCE_S
        else:
            self._phase_patience_s = 0.0
            say(f"event '{phase}' was not delivered: going on without it")

    def completed(
        self,
        metrics: Mapping[str, float],
        *,
        additional_info: JsonObject,
        samples_file: Path,
        warning: str | None,
    ) -> None:
        """Report the result. All metrics are finite numbers.

        Raises:
            JobClosed, EventRefused: it was not accepted, or the server stayed away for two minutes.
        """
        event = self._event("completed", phase="completed")
        event["completed_at"] = _now()
        event["metrics"] = dict(metrics)
        event["metrics_schema"] = [{"name": name, "type": "numeric"} for name in metrics]
        event["additional_info"] = additional_info
        event["artifacts"] = {"samples": str(samples_file)}
        event["logs_path"] = str(samples_file)
        if warning:
            event["warning_message"] = _message(warning, "completed_with_warnings")
        self._insist(event)

    def failed(self, error: BenchmarkFailed) -> None:
        """Report that there is no result, and why. Raises as ``completed`` does."""
        event = self._event("failed")
        event["completed_at"] = _now()
        event["error_message"] = _message(str(error), error.code)
        self._insist(event)

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

    def _insist(self, event: JsonObject) -> None:
        if not self._deliver(event, TERMINAL_PATIENCE_S):
            say(f"the result was not reported; it was: {dump(event)}")
            raise EventRefused(f"{self._url} could not be reached for {TERMINAL_PATIENCE_S:g} s")

    def _deliver(self, event: JsonObject, patience_s: float) -> bool:
        """Post until the server takes it; False when patience ran out.

        Repeating is safe: the server treats an identical repeat as a success.
        """
        body = dump({"benchmark_status_event": event}).encode()
        deadline = time.monotonic() + patience_s
        pause_s = FIRST_PAUSE_S
        while True:
            problem = self._post(body)
            if problem is None:
                return True
            wait_s = pause_s * (0.5 + random.random() / 2)  # noqa: S311  no secret
            if time.monotonic() + wait_s > deadline:
                return False
            say(f"event '{event.get('phase', event['status'])}' not delivered yet ({problem}): trying again")
            time.sleep(wait_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def _post(self, body: bytes) -> str | None:
        """One attempt: None if accepted, else what to say about a problem that may pass."""
        try:
            answer = self._connection.post(body)
        except ConnectionFailed as failure:
            return str(failure)
        if 200 <= answer.status < 300:
            return None
        said = f"{answer.status}: {error_message(answer.body)[:500]}"
        if answer.status == 409:
            raise JobClosed(said)
        if answer.status == 429 or answer.status >= 500:
            return said
        raise EventRefused(f"{self._url} answered {said}")


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _message(text: str, code: str) -> JsonObject:
    return {"message": text, "message_code": code, "message_origin": "adapter"}
