"""State of this server process: starting, ready or not, and its role among the servers of its storage."""

from __future__ import annotations

from enum import StrEnum

from evalhub_server.domain import request_problems
from evalhub_server.errors import ApiError


class Role(StrEnum):
    """What a server is among those that share its storage; ``ousted`` is one that lost its lease and knows no new leader yet."""

    STARTING = "starting"
    LEADER = "leader"
    FOLLOWER = "follower"
    OUSTED = "ousted"


class ServerState:
    """The state of this server process: starting, serving, then stopping; or without its data directory.

    One object per server. Parts that notice a change report it here; requests read :attr:`refusal`. ``role`` is that among
    the servers of a shared storage; None for a storage that has only one server.
    """

    role: Role | None = None

    def __init__(self) -> None:
        self._serving = False
        self._stopping = False
        self._data_directory_lost = False

    def set_serving(self) -> None:
        """The server accepts requests from now on."""
        self._serving = True

    def set_stopping(self) -> None:
        """The server is about to stop."""
        self._stopping = True

    def set_data_directory_lost(self) -> None:
        """The data directory, the database or its lock was removed, replaced or moved. This is final."""
        self._data_directory_lost = True

    def set_role(self, role: Role) -> None:
        """The role of this server among those of its storage has changed."""
        self.role = role

    @property
    def stopping(self) -> bool:
        return self._stopping

    @property
    def data_directory_lost(self) -> bool:
        return self._data_directory_lost

    @property
    def refusal(self) -> ApiError | None:
        """Why the server is not ready; None if it is."""
        if self._data_directory_lost:
            return request_problems.data_directory_lost()
        if self._stopping:
            return request_problems.server_stopping()
        if self.role is Role.OUSTED:
            return request_problems.server_ousted()
        return None if self._serving else request_problems.server_starting()
