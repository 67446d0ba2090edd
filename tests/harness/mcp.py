"""The published MCP server, through which assistants use an EvalHub server."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.environments import installed
from harness.sdk import LOOPBACK_WITHOUT_PROXY

REQUIREMENT = "eval-hub-mcp==1.0.2"
PROGRAM = "evalhub-mcp"
DEADLINE_S = 60.0


class RefusedError(Exception):
    """The MCP server answered with an error, or a tool with one."""


class McpSession:
    """A session over the program's standard streams: a message of JSON-RPC on each line."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._input, self._output = process.stdin, process.stdout
        self._calls = 0
        client = {"name": "tests", "version": "1"}
        self.call("initialize", protocolVersion="2025-06-18", capabilities={}, clientInfo=client)
        self._send({"method": "notifications/initialized"})

    def call(self, method: str, /, **params: Any) -> Any:
        self._calls += 1
        self._send({"id": self._calls, "method": method, "params": params})
        for line in self._output:
            answer = json.loads(line)
            if answer.get("id") == self._calls:
                if "error" in answer:
                    raise RefusedError(answer["error"]["message"])
                return answer["result"]
        raise AssertionError("the MCP server has ended, or did not answer in time")

    def read(self, uri: str) -> Any:
        (contents,) = self.call("resources/read", uri=f"evalhub://{uri}")["contents"]
        return json.loads(contents["text"])

    def tool(self, name: str, /, **arguments: Any) -> Any:
        result = self.call("tools/call", name=name, arguments=arguments)
        if result.get("isError"):
            raise RefusedError(result["content"][0]["text"])
        return result["structuredContent"]

    def _send(self, message: dict[str, Any]) -> None:
        self._input.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._input.flush()


@contextmanager
def mcp_session(cache: Path, home: Path, url: str) -> Iterator[McpSession]:
    """Runs the program, from an environment below ``cache``, for the server at ``url``."""
    program = installed(cache, "mcp", REQUIREMENT) / "bin" / PROGRAM
    env = {**os.environ, **LOOPBACK_WITHOUT_PROXY, "HOME": str(home), "EVALHUB_BASE_URL": url}
    process = subprocess.Popen(
        [program],
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    watchdog = threading.Timer(DEADLINE_S, process.kill)
    watchdog.start()
    try:
        with process:
            yield McpSession(process)
            process.kill()
    finally:
        process.kill()
        watchdog.cancel()
