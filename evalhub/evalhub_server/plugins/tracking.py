"""The contract of a tracker: an experiment tracking server that jobs report to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from evalhub_server.domain.record import ExportOutcome, JobRecord, TrackedExperiment
from evalhub_server.models.job import JobRequest


class Tracker(ABC):
    """Resolves the experiments of jobs, and records finished jobs in them.

    With several trackers, each one resolves and records every job that has an experiment. A job's record has the
    experiments by tracker, in ``job.progress.experiments``; clients see the first one's.

    Methods are called from one event loop, concurrently for different jobs, and must not block it for more than 0.2 seconds.
    """

    name: str
    """Its name in the configuration, in records and in the results of jobs."""

    @abstractmethod
    async def check(self) -> None:
        """Check the settings. A server that is down is no error: it may be up when needed.

        Called: once at start, before all other methods.
        Concurrency: nothing else of the tracker runs.
        Repeats: each start of a server.
        Cancellation: never.
        Failure: the server exits with status 1; after a StartupError with its text alone. :meth:`close` is called.
        Time limit: none; all requests but those for health wait for it.

        Raises:
            StartupError: the settings cannot work; the text names the remedy.
        """

    @abstractmethod
    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        """Find or create the experiment that ``request.experiment`` names. The name has no surrounding whitespace.

        Called: once for each job with an experiment that a client creates, before it is stored and while the client waits; of
            several trackers, one after the other.
        Concurrency: calls for different jobs overlap; for one name they return one experiment.
        Repeats: finds the experiment of the first call.
        Cancellation: when the server stops. An experiment that a cancelled call has created is found by the next one.
        Failure: anything but an ApiError refuses the job with 500.
        Time limit: none, so have one; clients have their own.

        Raises:
            ApiError: the tracking server refuses or does not respond. Status, code and text are the response for the
                client; no job is created.
        """

    @abstractmethod
    def environment(self, tenant: str) -> Mapping[str, str]:
        """Return environment variables with which an adapter on this host reaches the same tracking server.

        They may contain secrets and paths of this host: a runtime that starts adapters elsewhere selects among them.

        Called: for each launch of a benchmark, whether its job has an experiment or not, and again to find or stop it.
        Concurrency: on the event loop, one call at a time.
        Repeats: returns the same.
        Cancellation: never; it is a plain function.
        Failure: the benchmark fails.
        Time limit: none; it must not block.
        """

    @abstractmethod
    async def record(self, job: JobRecord) -> ExportOutcome:
        """Record a terminal job in ``job.progress.experiments[name]``; ``reference`` of the outcome is the run id.

        Called: in the background when a job with an experiment has ended, and again if its outcome changes after that.
        Concurrency: one call at a time for a job; at most ``finalizer.max_parallel`` (8) jobs at a time.
        Repeats: idempotent for a job: a repeated call, also after a restart, updates the run of the first.
        Cancellation: after the time limit, when the job is deleted, and 0.4 seconds after the server began to close its outbox.
            What it has written may stay; the next call continues with it.
        Failure: any exception but an ExportRefused is retried, up to ``finalizer.max_attempts`` (2700), with pauses that grow
            from 1 second to ``finalizer.retry_most`` (300 seconds). The job keeps its results; they show the state of the export.
        Time limit: 120 seconds for each attempt.

        Raises:
            ExportRefused: a retry cannot succeed, for example because the job has no experiment of this tracker, or it was deleted. The
                text is shown in the job's results.
        """

    async def settle(self, job: JobRecord) -> None:
        """Remove what a cancelled :meth:`record` has created besides the run whose id is in the job's outbox.

        A request of a server that died may reach the tracking server after the next server has recorded the job. The default
        does nothing.

        Called: in the background after a :meth:`record` succeeded, if an earlier server may have attempted it: 5 seconds after the success,
            and again 30 seconds later.
        Concurrency: one call at a time for a job; at most ``finalizer.max_parallel`` (8) calls in total.
        Repeats: idempotent, also by the next server.
        Cancellation: after the time limit, and when the server stops. The next server calls it again.
        Failure: any exception is logged and retried after 30 seconds.
        Time limit: 120 seconds for each attempt.
        """
        return

    async def end_run(self, job: JobRecord) -> None:
        """End the run of a job that is being deleted, if a cancelled or failed :meth:`record` has left one open.

        Creates nothing. The default does nothing.

        Called: when a client deletes a job that is not recorded yet.
        Concurrency: overlaps with a :meth:`record` of the job that is being cancelled.
        Repeats: idempotent.
        Cancellation: after the time limit, and when the server stops.
        Failure: any exception is retried in the background, up to 300 times with pauses of 2 to 300 seconds. The job is
            deleted nevertheless.
        Time limit: 5 seconds while the client waits, then 60 seconds for each attempt.
        """
        return

    async def close(self) -> None:
        """Release connections.

        Called: once at the end of the server, after everything that uses the tracker, and after a :meth:`check` that failed.
        Concurrency: nothing else of the tracker runs.
        Repeats: never.
        Cancellation: never.
        Failure: the other parts are closed nevertheless; the server exits with status 1.
        Time limit: none; a service manager may kill the server.
        """
        return
