"""Status of benchmarks in the cluster: a label and an annotation on the Job, and an event. Best effort."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

import msgspec
import structlog
from msgspec import Struct

from evalhub_runtime_k8s.api_resources import EVENTS, JOBS
from evalhub_runtime_k8s.client import KubernetesApi
from evalhub_runtime_k8s.deletion import Named
from evalhub_runtime_k8s.handles import parse
from evalhub_runtime_k8s.labels import PHASE, STATUS, benchmark_selector, selector_text
from evalhub_runtime_k8s.settings import Installation
from evalhub_runtime_k8s.throttle import Priority
from evalhub_server.plugins import BenchmarkRecord, EvalHubError, JobChanged, Json, State

log = structlog.get_logger()

TIMEOUT_S = 10.0
MAX_CONCURRENT = 4
COMPONENT = "evalhub-server"
PHASES = {State.RUNNING: "Running", State.COMPLETED: "Completed", State.FAILED: "Failed"}
VIOLATED = "ThresholdViolated"


class StatusEvent(Struct, frozen=True, kw_only=True):
    """One transition of one benchmark. ``phase`` is the label's value, ``job`` the Job's name if it is known."""

    namespace: str
    job_id: str
    index: int
    phase: str
    reason: str
    message: str
    job: str = ""
    warning: bool = False


class StatusPublisher:
    """Publishes status events in the background, in the order of each benchmark's transitions."""

    def __init__(self, api: KubernetesApi, installation: Installation) -> None:
        self._api = api
        self._installation = installation
        self._last: dict[tuple[str, int], asyncio.Task[None]] = {}
        self._sending = asyncio.Semaphore(MAX_CONCURRENT)

    def changed(self, change: JobChanged) -> None:
        """Observer of committed changes."""
        before, after = change.before, change.after
        if before is None or after is None:
            return
        namespace = self._installation.tenant_namespace(after.tenant)
        for old, new in change.benchmarks:
            if old.state is not new.state:
                for signal in status_events_of(namespace, after.id, new):
                    self._queue(signal)

    async def close(self) -> None:
        tasks = list(self._last.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _queue(self, signal: StatusEvent) -> None:
        key = signal.job_id, signal.index
        task = asyncio.create_task(
            self._send(signal, self._last.get(key)), name=f"status-event-{signal.job_id}-{signal.index}"
        )
        self._last[key] = task
        task.add_done_callback(lambda done: self._done(key, done))

    def _done(self, key: tuple[str, int], task: asyncio.Task[None]) -> None:
        if self._last.get(key) is task:
            del self._last[key]

    async def _send(self, signal: StatusEvent, earlier: asyncio.Task[None] | None) -> None:
        if earlier is not None:
            await asyncio.wait([earlier])
        try:
            async with self._sending, asyncio.timeout(TIMEOUT_S):
                await self._publish(signal)
        except (EvalHubError, TimeoutError) as error:
            log.warning(
                "Status of a benchmark not published",
                job_id=signal.job_id,
                benchmark_index=signal.index,
                phase=signal.phase,
                error=str(error) or type(error).__name__,
            )

    async def _publish(self, signal: StatusEvent) -> None:
        moment = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        metadata = {"labels": {PHASE: signal.phase}, "annotations": {STATUS: _status(signal, moment)}}
        for name in await self._jobs(signal):
            changed = await self._api.patch(
                JOBS, signal.namespace, name, {"metadata": metadata}, priority=Priority.STATUS
            )
            event = _event(signal, changed, moment)
            await self._api.create(EVENTS, signal.namespace, event, priority=Priority.STATUS)

    async def _jobs(self, signal: StatusEvent) -> list[str]:
        """Return the names of the benchmark's Jobs; without a handle they are looked up by label."""
        if signal.job:
            return [signal.job]
        selector = selector_text(benchmark_selector(signal.job_id, signal.index))
        jobs, _ = await self._api.list(JOBS, signal.namespace, selector, Named, priority=Priority.STATUS)
        return [job.metadata.name for job in jobs]


def status_events_of(namespace: str, job_id: str, benchmark: BenchmarkRecord) -> list[StatusEvent]:
    """Return the status events of a benchmark's new state; none for pending and cancelled."""
    phase = PHASES.get(benchmark.state)
    if phase is None:
        return []
    handle = parse(benchmark.handle) if benchmark.handle else None
    job = handle.job if handle else ""
    signals = [
        StatusEvent(
            namespace=namespace,
            job=job,
            job_id=job_id,
            index=benchmark.index,
            phase=phase,
            reason=f"Evaluation{phase}",
            message=f"benchmark {benchmark.index} phase transition: {phase}",
            warning=benchmark.state is State.FAILED,
        )
    ]
    test = benchmark.result.test if benchmark.result else None
    if benchmark.state is State.COMPLETED and test is not None and not test.passed:
        signals.append(
            StatusEvent(
                namespace=namespace,
                job=job,
                job_id=job_id,
                index=benchmark.index,
                phase=VIOLATED,
                reason=f"Evaluation{VIOLATED}",
                message=f"metric={test.primary_score_metric} actual={test.primary_score} threshold={test.threshold}",
                warning=True,
            )
        )
    return signals


def _status(signal: StatusEvent, moment: str) -> str:
    """Compact JSON with sorted keys."""
    return msgspec.json.encode(
        {
            "benchmark_index": signal.index,
            "evaluation_id": signal.job_id,
            "phase": signal.phase,
            "timestamp": moment,
        },
        order="sorted",
    ).decode()


def _event(signal: StatusEvent, job: Json, moment: str) -> Json:
    metadata: Json = job["metadata"]
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": f"{metadata['name']}.{time.time_ns():x}", "namespace": signal.namespace},
        "involvedObject": {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": metadata["name"],
            "namespace": signal.namespace,
            "resourceVersion": metadata.get("resourceVersion", ""),
            "uid": metadata["uid"],
        },
        "reason": signal.reason,
        "message": signal.message,
        "type": "Warning" if signal.warning else "Normal",
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "count": 1,
        "firstTimestamp": moment,
        "lastTimestamp": moment,
    }
