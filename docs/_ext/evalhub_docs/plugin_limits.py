"""Time limits, pauses and other numbers of the plugin API, read from the constants and settings of the server."""

from __future__ import annotations

from typing import NamedTuple

from evalhub_server.domain.diagnosis import LOG_TAIL_LINES
from evalhub_server.engine import (
    abandoned_launches,
    backup,
    change_follower,
    export_attempt,
    job_stopper,
    late_effects,
    leadership,
    log_hub,
    loop_watchdog,
    observers,
    open_runs,
    outbox,
    readiness,
    retention,
    runtime_retry,
    samples,
    storage_watch,
    stored_bytes,
    supervisor,
    write_buffer,
)
from evalhub_server.plugins import imports
from evalhub_server.settings import FinalizerSettings, SupervisorSettings
from evalhub_server.web import uvicorn_server


class Limit(NamedTuple):
    """A number that the docstring of ``owner`` (a class, method or hook of the plugin API) states. ``unit`` is empty for a count."""

    owner: str
    what: str
    value: float
    unit: str = "s"
    setting: str = ""


def _retries(owner: str) -> list[Limit]:
    retry = runtime_retry.RETRY
    return [
        Limit(owner, "first pause between retries", retry.first_s),
        Limit(owner, "maximum pause between retries", retry.max_s),
    ]


def _exports(owner: str) -> list[Limit]:
    settings = FinalizerSettings()
    return [
        Limit(owner, "one attempt", export_attempt.ATTEMPT_TIMEOUT_S),
        Limit(owner, "first pause between attempts", outbox.RETRY_FIRST_S),
        Limit(owner, "maximum pause between attempts", settings.retry_most, "s", "finalizer.retry_most"),
        Limit(owner, "maximum number of attempts", settings.max_attempts, "", "finalizer.max_attempts"),
        Limit(owner, "jobs at a time", settings.max_parallel, "", "finalizer.max_parallel"),
        Limit(owner, "attempts under way while the server stops", outbox.DRAIN_S),
    ]


def _settling(owner: str) -> list[Limit]:
    first_s, last_s = late_effects.CHECKS_S
    parallel = FinalizerSettings().max_parallel
    return [
        Limit(owner, "one attempt", export_attempt.ATTEMPT_TIMEOUT_S),
        Limit(owner, "success to the first call", first_s),
        Limit(owner, "first call to the last one", last_s),
        Limit(owner, "pause after a failure", late_effects.RETRY_S),
        Limit(owner, "calls at a time", parallel, "", "finalizer.max_parallel"),
    ]


def _blocking(owner: str) -> Limit:
    return Limit(owner, "blocking of the event loop that is logged", loop_watchdog.LIMIT_S)


def _requests(owner: str) -> Limit:
    return Limit(owner, "calls for clients while the server stops", uvicorn_server.DRAIN_S)


LIMITS: tuple[Limit, ...] = (
    Limit("evalhub_runtimes", "import that is reported as slow", imports.SLOW_S),
    _blocking("Runtime"),
    _requests("Runtime"),
    *_retries("Runtime.launch"),
    *_retries("Runtime.find"),
    Limit("Runtime.find", "calls after a change of the leading server", abandoned_launches.MAX_CHECKS, ""),
    *_retries("Runtime.wait"),
    Limit("Runtime.stop", "grace", SupervisorSettings().stop_grace, "s", "supervisor.stop_grace"),
    Limit("Runtime.stop", "grace while the server stops", supervisor.SHUTDOWN_GRACE_S),
    Limit("Runtime.stop", "all stops while the server stops", supervisor.SHUTDOWN_STOP_S),
    Limit("Runtime.stop", "wait of a client beyond the grace", supervisor.STOP_TIMEOUT_S),
    *_retries("Runtime.stop"),
    Limit("Runtime.logs", "lines for the error of a benchmark", LOG_TAIL_LINES, ""),
    Limit("Runtime.read_log", "one call", log_hub.BLOCK_BYTES // 1024, "KiB"),
    Limit("Runtime.follow_log", "iterator after the end of a benchmark", log_hub.CHECK_S),
    Limit("Runtime.sample_files", "first pause between retries", samples.RETRY.first_s),
    Limit("Runtime.sample_files", "maximum pause between retries", samples.RETRY.max_s),
    Limit("Runtime.remove_logs", "start of the server to the first pass", retention.FIRST_PAUSE_S),
    Limit("Runtime.remove_logs", "pause between two passes", retention.PAUSE_S),
    Limit("Runtime.docker_config", "the attempt that it is part of", export_attempt.ATTEMPT_TIMEOUT_S),
    _blocking("Storage"),
    _requests("Storage"),
    Limit("Storage", "first pause until buffered changes are stored again", write_buffer.RETRY.first_s),
    Limit("Storage", "maximum pause until buffered changes are stored again", write_buffer.RETRY.max_s),
    Limit("Storage.verify", "pause between two calls", storage_watch.INTERVAL_S),
    Limit("Storage.size_bytes", "minimum time between two calls", stored_bytes.REFRESH_S),
    Limit("Storage.backup", "calls for one backup", backup.ATTEMPTS, ""),
    Limit("Storage.get_job", "call that checks the storage", readiness.CHECK_TIMEOUT_S),
    Limit("Storage.list_jobs", "jobs in a page of the retention policy", retention.PAGE, ""),
    Limit("Storage.open_jobs", "pause after a failure, with a shared storage", leadership.FAILED_S),
    Limit("SharedStorage", "duration of a lease", leadership.LEASE_S),
    Limit("SharedStorage", "pause between two renewals", leadership.RENEW_S),
    Limit("SharedStorage", "end of supervision before the end of the lease", leadership.MARGIN_S),
    Limit("SharedStorage.acquire_lease", "pause between two calls", leadership.POLL_S),
    Limit("SharedStorage.renew_lease", "pause between two calls", leadership.RENEW_S),
    Limit("SharedStorage.renew_lease", "pause after a failure", leadership.RETRY_S),
    Limit("SharedStorage.renew_lease", "last renewal before the end of the lease", leadership.MARGIN_S),
    Limit("SharedStorage.release_lease", "one call", leadership.RENEW_S),
    Limit("SharedStorage.current_lease", "pause between two calls", job_stopper.CHECK_S),
    Limit("SharedStorage.fenced", "pause after a failure", leadership.FAILED_S),
    Limit("SharedStorage.changes", "first item at start", change_follower.START_TIMEOUT_S),
    Limit("SharedStorage.changes", "first pause after a failure", change_follower.RETRY.first_s),
    Limit("SharedStorage.changes", "maximum pause after a failure", change_follower.RETRY.max_s),
    _blocking("Tracker"),
    *_exports("Tracker.record"),
    *_settling("Tracker.settle"),
    Limit("Tracker.end_run", "first attempt, while the client waits", open_runs.WITHIN_S),
    Limit("Tracker.end_run", "each further attempt", open_runs.ATTEMPT_TIMEOUT_S),
    Limit("Tracker.end_run", "first pause between attempts", open_runs.RETRY.first_s),
    Limit("Tracker.end_run", "maximum pause between attempts", open_runs.RETRY.max_s),
    Limit("Tracker.end_run", "maximum number of attempts", open_runs.MAX_ATTEMPTS, ""),
    _blocking("Exporter"),
    *_exports("Exporter.export"),
    *_settling("Exporter.settle"),
    Limit("Exporter.job_deleted", "one call", observers.OBSERVER_TIMEOUT_S),
    Limit("Exporter.job_deleted", "calls while the server stops", observers.DRAIN_S),
    Limit("Observer", "changes that wait for an observer", observers.BACKLOG, ""),
    Limit("Observer.job_changed", "one call of a coroutine function", observers.OBSERVER_TIMEOUT_S),
    Limit("Observer.job_changed", "calls while the server stops", observers.DRAIN_S),
    _blocking("Observer.job_changed"),
)


def plugin_limits(_argument: str) -> str:
    """A table of all numbers."""
    rows = [
        f"| `{each.owner}` | {each.what} | {each.value:g}{f' {each.unit}' if each.unit else ''} | "
        f"{f'`{each.setting}`' if each.setting else ''} |"
        for each in LIMITS
    ]
    return "\n".join(["| of | limit | value | setting |", "|---|---|---|---|", *rows])
