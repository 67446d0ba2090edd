"""A real OCI registry: Debian's ``docker-registry``, on a free loopback port, with its blobs in a folder."""

from __future__ import annotations

import shutil
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from harness.certificates import Certificate
from harness.running import Answer, RunningProcess, call
from harness.waiting import free_port

PROGRAM = shutil.which("docker-registry")
USER, PASSWORD = "robot", "p:ss-word-of-a-robot"
_HTPASSWD = f"{USER}:$2y$05$QeGBR0z2NX5ru7/JXQ0rMu3CNntXwioOrrhk4BTY/X9iAJ/c3dgHi\n"

needs_registry = pytest.mark.skipif(
    PROGRAM is None, reason="needs the program docker-registry (on Debian: apt-get install docker-registry)"
)


class RunningRegistry(RunningProcess):
    """A context manager. ``auth`` is the registry's section of that name; :meth:`basic` makes one."""

    def __init__(
        self, folder: Path, *, auth: Mapping[str, Any] | None = None, tls: Certificate | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        super().__init__(folder / "registry.log")
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._trust = ssl.create_default_context(cafile=str(tls.crt)) if tls else None
        http_section: dict[str, Any] = {"addr": self.host, "secret": "shared-over-restarts"}
        if tls:
            http_section["tls"] = {"certificate": str(tls.crt), "key": str(tls.key)}
        config = {
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
            "http": http_section,
            **({"auth": dict(auth)} if auth else {}),
        }
        (folder / "registry.yml").write_text(yaml.safe_dump(config), "utf-8")

    @staticmethod
    def basic(folder: Path) -> dict[str, Any]:
        """Require :data:`USER` and :data:`PASSWORD` for every request."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "htpasswd"
        file.write_text(_HTPASSWD, "utf-8")
        return {"htpasswd": {"realm": "a-realm", "path": str(file)}}

    def start(self) -> None:
        assert PROGRAM is not None
        command = [PROGRAM, "serve", str(self._folder / "registry.yml")]
        self.launch(command, self._answers, "the registry")

    def stop(self) -> None:
        """Stop the registry; stored content remains. Idempotent."""
        self.kill()

    def _answers(self) -> bool:
        return self.call("GET", "/v2/").status in (200, 401)

    def call(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """One request. The body of the answer is bytes, or decoded JSON."""
        return call(self.port, method, path, None, headers, self._trust)

    def tags(self, repository: str, headers: Mapping[str, str] | None = None) -> list[str]:
        answer = self.call("GET", f"/v2/{repository}/tags/list", headers)
        return (answer.body.get("tags") or []) if answer.status == 200 else []

    def requests(self, method: str, what: str) -> list[str]:
        """Lines of the registry's log about requests of one kind, such as ``PUT`` of ``/manifests/``."""
        return [
            line
            for line in self.log_text().splitlines()
            if f'"{method} /v2/' in line and what in line  # the access log in Apache's format
        ]
