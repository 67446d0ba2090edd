"""The contract of a tracker: an experiment tracking server that jobs report into."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping

from evalhub_server.domain.record import ExportOutcome, JobRecord, TrackedExperiment
from evalhub_server.models.job import JobRequest


class Tracker(ABC):
    """Resolves experiments and records finished jobs in them."""

    name: str

    @abstractmethod
    async def check(self) -> None:
        """Called once at start. Raise :class:`StartupError` if the settings cannot work; a server that is down can."""

    @abstractmethod
    async def resolve_experiment(self, request: JobRequest, job_id: str, tenant: str) -> TrackedExperiment:
        """Find or create the experiment that ``request.experiment`` names; there are no blanks around the name.

        Concurrent calls for one name give one experiment. Raises :class:`ApiError` ``mlflow_request_failed`` (400)
        when the tracking server refuses or does not answer.
        """

    @abstractmethod
    def environment(self, tenant: str) -> Mapping[str, str]:
        """Environment variables that an adapter on this host needs to reach the same tracking server.

        They may hold secrets and paths of this host: a runtime that starts adapters elsewhere chooses among them.
        """

    @abstractmethod
    async def record(self, job: JobRecord) -> ExportOutcome:
        """Record a terminal job that has an experiment; ``reference`` of the outcome is the tracker's run id.

        Called in the background like :meth:`Exporter.export`, and again if the job's outcome changes after its end.
        Idempotent per job: a second call, also after a restart, finds the first one's run. May be cancelled.

        Raises :class:`ExportRefused` when another try cannot help; anything else means: try again later.
        """

    async def close(self) -> None:
        """Let go of connections."""
        return
