"""Raw HTTP requests, which no client library would send."""

from __future__ import annotations

import http.client
import json
import socket

from harness.server import Answer


def head(method: str, target: str, *fields: str, version: str = "1.1") -> bytes:
    """A request's head as bytes, with ``Connection: close``; ``fields`` are whole lines, in latin-1."""
    lines = [f"{method} {target} HTTP/{version}", *fields, "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1")


def send(port: int, request: bytes, method: str = "GET") -> Answer:
    """Send bytes and read one answer. Raises :class:`ConnectionError` if the server just closes the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
        connection.sendall(request)
        response = http.client.HTTPResponse(connection, method=method)
        response.begin()
        text = response.read()
    fields = {name.lower(): value for name, value in response.getheaders()}
    is_json = text and fields.get("content-type") == "application/json"
    return Answer(response.status, fields, json.loads(text) if is_json else text.decode())


def raw_request(
    port: int, method: str, target: str, *fields: str, body: bytes = b"", version: str = "1.1"
) -> Answer:
    """Send one request with Host ``localhost``, unless ``fields`` have another."""
    lines = list(fields)
    if not any(line.lower().startswith("host:") for line in lines):
        lines.insert(0, f"Host: localhost:{port}")
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return send(port, head(method, target, *lines, version=version) + body, method)
