"""A change of one benchmark costs the same in a job of any size: counted in calls of functions, not in time."""

from __future__ import annotations

import gc
import sys
from functools import partial
from types import FrameType
from typing import Any

from evalhub_server.domain import transitions
from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import Exit, JobRecord
from evalhub_server.domain.sample_transitions import samples_collected, samples_expected
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.metrics import JobMetrics
from evalhub_server.engine.outbox_targets import ExportTargets
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.engine.sample_store import SampleStore
from evalhub_server.engine.samples import SampleCollector
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.models.sample import SampleSet
from evalhub_server.plugins.storage import JobChange
from evalhub_server.settings import SampleSettings, SupervisorSettings
from evalhub_server.testing.builders import EPOCH, a_job
from evalhub_server.testing.echo import EchoRuntime
from evalhub_server.testing.memory import MemoryStorage
from evalhub_storage_sqlite.jobs import JOBS

INDEX = 4


class CallCounter:
    """Context manager: ``calls`` is the number of Python functions that ran, resumed generators included.

    Without garbage collection, which calls functions of Hypothesis, and more often the more memory is used.
    """

    calls = 0

    def __enter__(self) -> CallCounter:
        gc.disable()
        sys.setprofile(self._count)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(None)
        gc.enable()

    def _count(self, _frame: FrameType, event: str, _arg: Any) -> None:
        self.calls += event == "call"


def reported(status: str, index: int) -> JobChange:
    event = BenchmarkEvent(
        provider_id="provider-a", id=f"bench-{index}", benchmark_index=index, status=status, metrics={"a": 1}
    )
    return partial(transitions.apply_event, event=event, now=EPOCH)


def life(index: int) -> list[JobChange]:
    """The changes of a benchmark that completes, its exit and samples included."""

    def exited(job: JobRecord) -> JobRecord:
        return samples_expected(transitions.exited(job, index, Exit(code=0), "", EPOCH), index)

    return [
        lambda job: transitions.launch_intended(job, index, EPOCH, runtime="echo"),
        lambda job: transitions.launched(job, index, {"pid": 1}, runtime="echo"),
        reported("running", index),
        reported("completed", index),
        exited,
        lambda job: samples_collected(job, index, SampleSet(state="none", attempt=1)),
    ]


def failed_launch(index: int) -> list[JobChange]:
    return [
        lambda job: transitions.launch_intended(job, index, EPOCH, runtime="echo"),
        lambda job: transitions.launch_failed(job, index, "no command", EPOCH),
    ]


def rows_of_change(change: JobChanged) -> None:
    """Encode what SQLite writes."""
    if change.after is not None:
        JOBS.changes(change.before, change.after)


async def calls_of_changes(size: int) -> int:
    """The calls for the changes of two benchmarks, in a job of which others have ended and others wait."""
    store = JobStore(MemoryStorage(), ExportTargets([]).pending_exports)
    runtime = EchoRuntime()
    runs = RunBuilder("http://127.0.0.1:1", "local", [])
    Supervisor(store, runtime, runs, SupervisorSettings(), lambda: EPOCH)
    samples = SampleCollector(store, runtime, SampleStore(None, SampleSettings()))
    store.listen(JobMetrics("echo").on_change)
    store.listen(rows_of_change)
    job = a_job(size=size)
    await store.add(job)
    for change in failed_launch(0):  # what is computed once for a job
        await store.update(job.id, None, change)
    with CallCounter() as counter:
        for change in (*life(INDEX), *failed_launch(INDEX + 1)):
            await store.update(job.id, None, change)
    await samples.close()
    return counter.calls


async def test_a_change_of_one_benchmark_costs_the_same_in_a_job_of_any_size() -> None:
    small, large = [await calls_of_changes(size) for size in (10, 1000)]
    assert large == small
