"""A real registry: Debian's ``docker-registry``, on a free loopback port, with its blobs in a folder."""

from __future__ import annotations

import http.client
import json
import shutil
import ssl
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import yaml

from harness.server import Answer
from harness.waiting import free_port, wait_until

PROGRAM = shutil.which("docker-registry")
USER, PASSWORD = "robot", "p:ss-word-of-a-robot"
_HTPASSWD = f"{USER}:$2y$05$QeGBR0z2NX5ru7/JXQ0rMu3CNntXwioOrrhk4BTY/X9iAJ/c3dgHi\n"

needs_registry = pytest.mark.skipif(
    PROGRAM is None, reason="needs the program docker-registry (on Debian: apt-get install docker-registry)"
)


class RunningRegistry:
    """A context manager. ``auth`` is the registry's section of that name; :meth:`basic` makes one."""

    def __init__(
        self, folder: Path, *, auth: Mapping[str, Any] | None = None, tls: tuple[Path, Path] | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.host = f"127.0.0.1:{self.port}"
        self._folder = folder
        self._trust = ssl.create_default_context(cafile=str(tls[0])) if tls else None
        http_section: dict[str, Any] = {"addr": self.host, "secret": "shared-over-restarts"}
        if tls:
            http_section["tls"] = {"certificate": str(tls[0]), "key": str(tls[1])}
        config = {
            "version": 0.1,
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": str(folder / "blobs")}},
            "http": http_section,
            **({"auth": dict(auth)} if auth else {}),
        }
        (folder / "registry.yml").write_text(yaml.safe_dump(config), "utf-8")
        self._process: subprocess.Popen[bytes] | None = None

    @staticmethod
    def basic(folder: Path) -> dict[str, Any]:
        """Only :data:`USER` with :data:`PASSWORD` may do anything."""
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / "htpasswd"
        file.write_text(_HTPASSWD, "utf-8")
        return {"htpasswd": {"realm": "a-realm", "path": str(file)}}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        assert PROGRAM is not None
        with (self._folder / "registry.log").open("ab") as log:
            command = [PROGRAM, "serve", str(self._folder / "registry.yml")]
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(self._answers, "the registry's first answer")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it as an outage would; what it has stored stays. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "registry.log").read_text("utf-8")
        try:
            return self.call("GET", "/v2/").status in (200, 401)
        except OSError:
            return False

    def call(self, method: str, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        """One request, without any client library in between. The body is bytes, or decoded JSON."""
        connection = (
            http.client.HTTPSConnection("127.0.0.1", self.port, timeout=60, context=self._trust)
            if self._trust
            else http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        )
        try:
            connection.request(method, path, headers=dict(headers or {}))
            answer = connection.getresponse()
            body = answer.read()
        finally:
            connection.close()
        fields = {name.lower(): value for name, value in answer.getheaders()}
        is_json = body and "json" in fields.get("content-type", "")
        return Answer(answer.status, fields, json.loads(body) if is_json else body)

    def tags(self, repository: str, headers: Mapping[str, str] | None = None) -> list[str]:
        answer = self.call("GET", f"/v2/{repository}/tags/list", headers)
        return (answer.body.get("tags") or []) if answer.status == 200 else []

    def requests(self, method: str, what: str) -> list[str]:
        """Lines of the registry's log about requests of one kind, such as ``PUT`` of ``/manifests/``."""
        log = (self._folder / "registry.log").read_text("utf-8")
        return [
            line
            for line in log.splitlines()
            if f'"{method} /v2/' in line and what in line  # the access log in Apache's format
        ]
