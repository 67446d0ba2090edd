"""The contract of an exporter: a place that a finished job's results are sent to."""

from __future__ import annotations

from abc import ABC, abstractmethod

from msgspec import Struct

from evalhub_server.domain.record import JobRecord
from evalhub_server.models.common import Json


class ExportOutcome(Struct, kw_only=True, frozen=True):
    """``reference`` and ``digest`` say where the export is; ``details`` are the exporter's own."""

    reference: str = ""
    digest: str = ""
    details: Json = {}


class Exporter(ABC):
    """Sends results of terminal jobs somewhere."""

    name: str

    @abstractmethod
    async def check(self) -> None:
        """Called once at start. Raise :class:`StartupError` if the settings cannot work."""

    @abstractmethod
    def wants(self, job: JobRecord) -> bool:
        """Does this job ask for this export?"""

    @abstractmethod
    async def export(self, job: JobRecord) -> ExportOutcome:
        """Export a terminal job. Idempotent per job.

        Raises :class:`ExportRefused` when another try cannot help; anything else means: try again later.
        """

    async def close(self) -> None:
        """Let go of connections."""
        return
