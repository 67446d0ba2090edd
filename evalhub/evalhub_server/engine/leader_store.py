"""The job store of the parts that supervise, which writes only while this server leads."""

from __future__ import annotations

from collections.abc import Callable

from evalhub_server.domain.job_changes import JobChanged
from evalhub_server.engine.committed_changes import Listener
from evalhub_server.engine.job_store import JobStore, PendingExports
from evalhub_server.errors import LeadershipLost, StorageError
from evalhub_server.plugins.storage import Storage

NOT_LEADING = "This server does not lead: another one supervises the jobs."


class LeaderStore(JobStore):
    """Reads from ``storage``, and writes between :meth:`lead` and :meth:`step_down` to a view of it that is fenced.

    Its listeners get the changes of all servers in that time. ``store`` is the one of the other parts of this server.
    """

    def __init__(self, storage: Storage, pending_exports: PendingExports | None, store: JobStore) -> None:
        super().__init__(storage, pending_exports, store.changes, store.buffers)
        self._leading: Storage | None = None
        self._check: Callable[[], None] = lambda: None
        self._on_lost: Callable[[], None] = lambda: None

    def lead(self, storage: Storage, check: Callable[[], None], on_lost: Callable[[], None]) -> None:
        """Write to ``storage``, which refuses writes of a former leader; each refusal calls ``on_lost``.

        ``check`` raises :class:`LeadershipLost` when this server must not supervise any more, as far as it knows itself.
        """
        self._leading, self._check, self._on_lost = storage, check, on_lost

    def step_down(self) -> None:
        """Refuse further writes, and forget buffered ones."""
        self._leading = None
        self._buffer.discard()

    def check_leading(self) -> None:
        if self._leading is None:
            raise LeadershipLost(NOT_LEADING)
        self._check()

    def listen(self, listener: Listener) -> None:
        def while_leading(change: JobChanged) -> None:
            if self._leading is not None:
                listener(change)

        super().listen(while_leading)

    def writable(self) -> Storage:
        """Where changes are written. Raises :class:`LeadershipLost` while this server does not lead."""
        if self._leading is None:
            raise LeadershipLost(NOT_LEADING)
        return self._leading

    def _write_failed(self, error: StorageError) -> None:
        super()._write_failed(error)
        if isinstance(error, LeadershipLost):
            self._on_lost()
