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

    Methods are called from one event loop, concurrently.
    """

    name: str
    """Its name in the configuration, in records and in the results of jobs."""

    @abstractmethod
    async def check(self) -> None:
        """Check the settings. Called once at start. A server that is down is no error: it may be up when needed.

        Raises:
            StartupError: the settings cannot work; the text names the remedy.
        """

    @abstractmethod
    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        """Find or create the experiment that ``request.experiment`` names. The name has no surrounding whitespace.

        Called before a job is stored, while the client waits. Concurrent calls for one name return one experiment.
        Cancel-safe: an experiment that a cancelled call has created is found by the next one.

        Raises:
            ApiError: the tracking server refuses or does not respond. Status, code and text are the response for the
                client; no job is created.
        """

    @abstractmethod
    def environment(self, tenant: str) -> Mapping[str, str]:
        """Return environment variables with which an adapter on this host reaches the same tracking server.

        They may contain secrets and paths of this host: a runtime that starts adapters elsewhere selects among them.
        Must not block.
        """

    @abstractmethod
    async def record(self, job: JobRecord) -> ExportOutcome:
        """Record a terminal job in ``job.progress.experiments[name]``; ``reference`` of the outcome is the run id.

        Called in the background like :meth:`Exporter.export`, and again if the job's outcome changes after its end.
        Idempotent per job: a repeated call, also after a restart, updates the run of the first. May be cancelled at any
        time. Any exception except :class:`ExportRefused` is retried.

        Raises:
            ExportRefused: a retry cannot succeed. The text is shown in the job's results.
        """

    async def end_run(self, job: JobRecord) -> None:
        """End the run of a job that is being deleted, if a cancelled or failed :meth:`record` has left one open.

        Idempotent; creates nothing. Any exception is retried for about a day, in the background. The default does nothing.
        """
        return

    async def close(self) -> None:
        """Release connections."""
        return
