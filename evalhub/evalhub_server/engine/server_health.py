"""The state of a running server and of its parts, as far as it is known without waiting for any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from evalhub_server.domain.record import ExportKind
from evalhub_server.engine.clock import utc_now
from evalhub_server.engine.outbox import ExportAttempt, Outbox
from evalhub_server.engine.readiness import Checked, ComponentChecks
from evalhub_server.engine.server_state import Role, ServerState
from evalhub_server.engine.stored_bytes import StoredBytes
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.plugins.runtime import Limits

CHECK_WAIT_S = 0.01
"""How long a reader waits for a check that is due; a slower one counts for the next reader."""

STALE_S = 30.0
"""Age from which the last check of the storage proves nothing about it."""

STALE_WAIT_S = 0.2
"""How long a reader waits for a check if there is no newer result: the first one in a long time."""


class ServerFacts(Struct, kw_only=True, frozen=True):
    """What does not change while the server runs. Texts contain no secrets.

    ``not_kept`` is why no samples are kept. ``warnings`` are those about the configuration.
    """

    version: str
    url: str
    local: bool
    exposed: bool
    authenticated: bool
    storage: str
    durable: bool
    runtime: str
    limits: Limits
    samples: str
    not_kept: str
    data_dir: str
    warnings: Sequence[str] = ()


class TargetState(Struct, kw_only=True, frozen=True):
    """A tracker or exporter: jobs with pending exports, and its last attempts in this life of the server.

    ``error`` is that of the last attempt, empty if it succeeded.
    """

    kind: ExportKind
    name: str
    pending: int = 0
    succeeded_at: datetime | None = None
    failed_at: datetime | None = None
    error: str = ""


class HealthReport(Struct, kw_only=True, frozen=True):
    """The state of the server. ``refusal`` is why it accepts no work; ``checked`` is None before the first check.

    ``role`` is that among several servers of one database; None for a storage that has only one.

    ``stored`` are sizes in bytes of the database, samples, artifacts and jobs, of those that have been measured.
    """

    facts: ServerFacts
    read_at: datetime
    started_at: datetime
    refusal: str
    checked: Checked | None
    running: int
    waiting: int
    oldest_wait_s: float | None
    targets: Sequence[TargetState]
    stored: Mapping[str, int]
    role: Role | None = None


class ServerHealth:
    """Reads what the parts of one server know about themselves. It listens to the outbox from its creation on."""

    def __init__(
        self,
        facts: ServerFacts,
        state: ServerState,
        checks: ComponentChecks,
        supervisor: Supervisor,
        outbox: Outbox,
        targets: Sequence[tuple[ExportKind, str]],
        stored: StoredBytes,
    ) -> None:
        self._facts = facts
        self._started_at = utc_now()
        self._state = state
        self._checks = checks
        self._supervisor = supervisor
        self._outbox = outbox
        self._stored = stored
        self._targets: dict[tuple[str, str], TargetState] = {
            (kind, name): TargetState(kind=kind, name=name) for kind, name in targets
        }
        outbox.listen(self._on_attempt)

    async def read(self) -> HealthReport:
        """The current state. Takes a few milliseconds even if the storage does not answer, as long as it is read regularly."""
        checked = await self._checks.recent(CHECK_WAIT_S)
        if checked is None or (utc_now() - checked.at).total_seconds() > STALE_S:
            checked = await self._checks.recent(STALE_WAIT_S)
        refusal = self._state.refusal
        pending: Mapping[tuple[str, str], int] = {**self._outbox.pending}
        return HealthReport(
            facts=self._facts,
            read_at=utc_now(),
            started_at=self._started_at,
            refusal=refusal.message if refusal else "",
            checked=checked,
            running=self._supervisor.running,
            waiting=self._supervisor.waiting,
            oldest_wait_s=self._supervisor.oldest_wait_s,
            targets=[
                replace(self._targets[key], pending=pending.get(key, 0)) for key in sorted(self._targets)
            ],
            stored=self._stored.sizes,
            role=self._state.role,
        )

    def _on_attempt(self, attempt: ExportAttempt) -> None:
        key, now = (attempt.kind, attempt.name), utc_now()
        target = self._targets.get(key)
        if target is not None and attempt.result == "succeeded":
            self._targets[key] = replace(target, succeeded_at=now, error="")
        elif target is not None:
            self._targets[key] = replace(target, failed_at=now, error=attempt.error)
