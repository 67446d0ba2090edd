"""A real HTTP endpoint for webhooks."""

from __future__ import annotations

from harness.answering import AnsweringServer, Reply, Request


class Receiver(AnsweringServer):
    """It answers with :attr:`status`, and with :attr:`location` if there is one."""

    def __init__(self) -> None:
        super().__init__(self._answer)
        self.status = 204
        self.location = ""

    @property
    def hook(self) -> str:
        return f"{self.url}/hook"

    def _answer(self, request: Request) -> Reply:
        return Reply(self.status, headers={"Location": self.location} if self.location else {})
