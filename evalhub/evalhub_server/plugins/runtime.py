"""The contract of a runtime: how the adapter of a benchmark is started, watched and stopped."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable

from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.domain.record import Exit, JobPlan, JobRecord
from evalhub_server.domain.url_rewriting import SidecarUrls
from evalhub_server.models.common import Json
from evalhub_server.models.job import JobRequest
from evalhub_server.plugins.runtime_logs import RuntimeLogs
from evalhub_server.plugins.runtime_types import (
    BenchmarkRun,
    Handle,
    Limits,
    LogOptions,
    LogPart,
    Notice,
    Readiness,
    SampleFiles,
)

__all__ = [
    "BenchmarkRun",
    "Handle",
    "Limits",
    "LogOptions",
    "LogPart",
    "Notice",
    "Readiness",
    "Runtime",
    "SampleFiles",
]


class Runtime(RuntimeLogs):
    """A way to run adapters. A small one takes about 200 lines.

    Methods are called from one event loop, concurrently for different workloads. None may block that loop: one that takes longer
    than 0.2 seconds without an ``await`` is named in the log. Each benchmark has a task of its own, which calls ``launch`` or ``find``,
    then ``wait`` and ``notices`` at the same time, and at the end ``stop`` and ``logs``. Calls for a client are not cancelled when that
    disconnects (except for logs), but 1 second after the server began to stop.
    """

    name: str
    """Its name in logs and metrics, and in the records of the benchmarks that it launched."""

    provider_key: str
    """Its entry under ``runtime:`` in a provider file, such as ``local``."""

    on_this_host: bool = True
    """Whether it starts programs on the server's host. What can write to the data directory can then run commands, so the
    group of a mounted volume is refused there. One server alone launches workloads then, so it stores a handle with the next change
    of the job, or a second after the launch: after a crash before that, it launches again and gets the same handle."""

    limits: Limits = Limits()
    """How many workloads it can run at the same time."""

    sidecar: SidecarUrls | None = None
    """URLs at which its adapters find server, model, tracker and registry, if they differ from the configured ones.

    The server replaces these URLs by the configured ones in what adapters report.
    """

    exit_grace_s: float = 0.0
    """Seconds for which a result may still arrive after :meth:`wait` has returned, if more than the server's own grace."""

    takes_test_data_paths: bool = False
    """Whether its adapters can read directories of this host as test data."""

    hands_over_samples: bool = False
    """Whether its adapters get a place for samples, which is files on this host (:meth:`sample_files`), or a volume that is uploaded."""

    upload_grace_s: float = 0.0
    """Seconds after the end of a workload for which its samples may still be uploaded, where :meth:`sample_files` is None."""

    observe: Callable[[JobChanged], Awaitable[None] | None] | None = None
    """Called with every committed change, like :meth:`Observer.job_changed`; None if not needed."""

    @abstractmethod
    async def check(self) -> None:
        """Check that this host can run adapters.

        Called: once at start, before all other methods. Commands such as ``backup`` create a runtime without it.
        Concurrency: nothing else of the runtime runs.
        Repeats: each start of a server, also on what an earlier server has left.
        Cancellation: never.
        Failure: the server exits with status 1; after a StartupError with its text alone. :meth:`close` is called.
        Time limit: none; all requests but those for health wait for it.

        Raises:
            StartupError: it cannot; the text names the remedy.
        """

    def readiness(self, entry: Json | None) -> Readiness | None:
        """Whether this host can start the adapters of a provider with this entry; None if that is not known.

        Clients see it as ``runnable``.

        Called: with ``--local``, for each provider in an answer.
        Concurrency: on the event loop, one call at a time.
        Repeats: often, so it looks at a few files at most.
        Cancellation: never; it is a plain function.
        Failure: the request is answered with 500.
        Time limit: none; it must not block.
        """
        return None

    def readiness_state(self) -> str:
        """A text that changes when :meth:`readiness` may return something else for an entry that it was called with.

        Called: with ``--local``, at each request for a list of providers, to find whether a cached answer is valid.
        Concurrency: on the event loop, one call at a time.
        Repeats: often.
        Cancellation: never; it is a plain function.
        Failure: the request is answered with 500.
        Time limit: none; it must not block.
        """
        return ""

    async def admit(self, request: JobRequest, plan: JobPlan, tenant: str) -> None:
        """Refuse a job that this runtime could never run. Check only what can be known immediately.

        Called: once for each job that a client creates, repeats or has checked, before it is stored and while the client waits.
        Concurrency: calls for different requests overlap.
        Repeats: it starts and stores nothing, so a repetition has no effect.
        Cancellation: when the server stops.
        Failure: anything but an ApiError refuses the job with 500.
        Time limit: none; clients have their own.

        Raises:
            ApiError: the response for the client; the job is refused.
        """
        return

    @abstractmethod
    async def launch(self, run: BenchmarkRun) -> Handle:
        """Start the workload and return its handle.

        Called: once for each attempt, by the benchmark's task, as soon as :attr:`limits` permit it and the intent is stored.
        Concurrency: overlaps with launches of other benchmarks; there is one at a time for a key.
        Repeats: idempotent for ``run.key``: if a workload with that key exists, running or ended, because the server crashed
            after an earlier launch, its handle is returned and no second workload is started.
        Cancellation: when the job is cancelled or deleted, or the server stops. Return as soon as possible. Whatever exists
            by then may stay: the server launches again and gets the same handle, or calls :meth:`find` and :meth:`stop`.
        Failure: anything else fails the benchmark, after :meth:`find` and :meth:`stop` of what it may have started.
        Time limit: none. Pauses between retries grow from 0.2 to 15 seconds.

        Raises:
            LaunchError: the workload cannot be started; nothing of it is left. The text becomes the benchmark's error.
            RuntimeUnavailable: unknown at present (no quota, no connection). The server retries until the job is
                cancelled, and shows the text as the benchmark's warning.
        """

    @abstractmethod
    async def find(self, run: BenchmarkRun) -> Handle | None:
        """Return the handle of the workload that an earlier launch of ``run.key`` started, running or ended.

        None if there is none and a cancelled launch cannot create one any more. A partly created workload counts: its handle is
        passed to :meth:`stop`.

        Called: for a benchmark that was cancelled during its launch, after a launch that raised, and if a crash or a change of
            the leading server left open whether it was launched (then up to 60 times, each second).
        Concurrency: overlaps with calls for other benchmarks, and with a cancelled :meth:`launch` that still creates something.
        Repeats: starts and changes nothing.
        Cancellation: when the server stops.
        Failure: anything else fails the benchmark; after a launch that raised, it is logged and nothing is stopped.
        Time limit: none. Pauses between retries grow from 0.2 to 15 seconds.

        Raises:
            RuntimeRefused: it cannot be found out; the benchmark then ends as lost.
            RuntimeUnavailable: unknown at present; the server retries.
        """

    @abstractmethod
    async def wait(self, handle: Handle) -> Exit:
        """Return when the workload has ended; immediately if it already has.

        Works after a restart of the server, for a workload that ended meanwhile, and for one that is gone without
        a trace (``Exit(lost=True)``).

        Called: once for each workload, after its launch or after a restart of the server.
        Concurrency: overlaps with everything, also with :meth:`stop` and with other calls for the same handle.
        Repeats: returns the same exit again, until :meth:`remove`.
        Cancellation: when the server stops, or gives up a workload that it is refused to stop. The workload keeps running.
        Failure: any exception is retried, and shown as the warning ``runtime_error`` of the benchmark.
        Time limit: none. Pauses between retries grow from 0.2 to 15 seconds.
        """

    async def age_s(self, handle: Handle) -> float | None:
        """Return for how many seconds the workload has run, independently of the host's clock; None if that is unknown.

        The deadlines of a workload that an earlier server launched are computed from it, else from the stored time of its
        launch. 0 for a workload that has ended.

        Called: once for each workload that was running when the server started.
        Concurrency: overlaps with :meth:`wait` for the same handle.
        Repeats: changes nothing.
        Cancellation: when the server stops.
        Failure: any exception is logged; the stored time of the launch is used.
        Time limit: none.
        """
        return None

    async def notices(self, handle: Handle) -> AsyncIterator[Notice | None]:
        """Yield a warning about a workload that has not ended whenever it changes; None withdraws it.

        For example why it does not start, or that its state is unknown at present. The server shows the latest as the
        benchmark's warning.

        Called: once for each workload, after its launch or after a restart of the server.
        Concurrency: overlaps with :meth:`wait` for the same handle.
        Repeats: begins with the present notice, if there is one.
        Cancellation: when the workload has ended, or the server stops. The iterator is closed.
        Failure: any exception is logged; there are no more notices about this workload until the server is restarted.
        Time limit: none.
        """
        return
        yield

    @abstractmethod
    async def stop(self, handle: Handle, grace_s: float) -> None:
        """Terminate the workload: request it, wait up to ``grace_s`` seconds, then force it.

        Returns when no process of the workload is alive, descendants included. Also terminates what an ended workload left
        running, and keeps its log. Must not affect another process that has got the process id of the workload. Where other
        systems terminate workloads (a cluster), it may return when termination is irrevocable and ``grace_s`` is over.

        Called: for each workload, also after its exit; earlier when its job is cancelled or deleted or a deadline is missed.
        Concurrency: one at a time for a handle on one server, while :meth:`wait` is running. After a change of the leading server,
            two servers may stop the same workload.
        Repeats: idempotent, also for a workload that is gone.
        Cancellation: when ``grace_s`` changes, to be called again at once, or the server stops.
        Failure: any exception is retried until it succeeds, and shown as the warning ``runtime_error`` of the benchmark.
        Time limit: ``grace_s`` is ``supervisor.stop_grace`` (10 seconds), 1.2 seconds while the server stops (which waits for
            2.7 seconds in total), and 0 for what a deleted job left. A client that cancels or deletes gets an error after the
            grace and 12 seconds more; stopping goes on. Pauses between retries grow from 0.2 to 15 seconds.

        Raises:
            RuntimeRefused: the workload may still run, and what it depends on refuses to stop it. Retried for ``retry_for_s``
                seconds; then the benchmark ends as lost.
            RuntimeUnavailable: unknown at present; the server retries.
        """

    async def sample_files(self, handle: Handle) -> SampleFiles | None:
        """Return where an ended workload left samples and artifacts on this host; None if it uploads them.

        The server reads the files in the background, so they must stay until :meth:`remove`.

        Called: after the end of each workload, if :attr:`hands_over_samples`.
        Concurrency: overlaps with calls for other workloads.
        Repeats: after a restart or a failure; the same paths are returned.
        Cancellation: when the job is deleted, or the server stops.
        Failure: a RuntimeUnavailable is retried; anything else marks the samples as failed.
        Time limit: none. Pauses between retries grow from 0.2 to 30 seconds.
        """
        return None

    @abstractmethod
    async def remove(self, job_id: str, tenant: str) -> str | None:
        """Remove every trace of a tenant's job: files, logs, cluster objects. :meth:`find` returns None for its runs afterwards.

        Returns a sentence for the client about what is left, because its removal is refused or goes on in the
        background; nothing if there is nothing left.

        Called: when a job is deleted, by a client or by the retention policy, after its workloads were stopped.
        Concurrency: overlaps with calls for other jobs; nothing of this job runs any more.
        Repeats: idempotent, also for a job of which nothing is left.
        Cancellation: when the server stops; the request can be repeated.
        Failure: anything else answers the client with 500, and the record is kept; with ``force`` it is logged only.
        Time limit: none.

        Raises:
            RuntimeUnavailable: it cannot be done at present. The client gets 503, and the record of the job is kept
                so that the request can be repeated.
        """

    async def docker_config(self, job: JobRecord) -> bytes | None:
        """Return the docker configuration (JSON) with which the job's artifacts are pushed to its registry.

        For a runtime with a store of its tenants' secrets: read the one that ``exports.oci.k8s.connection`` names. None
        selects the configuration of the server's user, which is right where clients act as that user, as on a
        workstation.

        Called: by exporters, through :attr:`PluginContext.docker_config`, in each attempt to export to a registry.
        Concurrency: calls overlap.
        Repeats: reads only.
        Cancellation: with the attempt that it is part of.
        Failure: any exception except :class:`ExportRefused` is retried with the attempt.
        Time limit: that of the attempt, 120 seconds in total.

        Raises:
            ExportRefused: the secret does not exist.
        """
        return None

    async def close(self) -> None:
        """Release connections and tasks. Workloads keep running.

        Called: once at the end of the server, after everything that uses the runtime, and after a :meth:`check` that failed.
        Concurrency: nothing else of the runtime runs.
        Repeats: never.
        Cancellation: never.
        Failure: the other parts are closed nevertheless; the server exits with status 1.
        Time limit: none; a service manager may kill the server.
        """
        return
