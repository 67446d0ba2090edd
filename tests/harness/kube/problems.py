"""Refusals as the API server words them: ``Status`` objects."""

from __future__ import annotations

from typing import Any

from harness.kube.kinds import Kind


class Refused(Exception):
    """An answer that is not a success."""

    def __init__(
        self,
        code: int,
        reason: str,
        message: str,
        details: dict[str, Any] | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.headers = headers or {}
        self.status: dict[str, Any] = {
            "kind": "Status",
            "apiVersion": "v1",
            "metadata": {},
            "status": "Failure",
            "message": message,
            "reason": reason,
            "code": code,
        }
        if details:
            self.status["details"] = details


def _details(kind: Kind, name: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "group": kind.group, "kind": kind.plural, **more}


def qualified(kind: Kind) -> str:
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def not_found(kind: Kind, name: str) -> Refused:
    return Refused(404, "NotFound", f'{qualified(kind)} "{name}" not found', _details(kind, name))


def already_exists(kind: Kind, name: str) -> Refused:
    return Refused(409, "AlreadyExists", f'{qualified(kind)} "{name}" already exists', _details(kind, name))


def conflict(kind: Kind, name: str, why: str = "") -> Refused:
    why = why or (
        "the object has been modified; please apply your changes to the latest version and try again"
    )
    text = f'Operation cannot be fulfilled on {qualified(kind)} "{name}": {why}'
    return Refused(409, "Conflict", text, _details(kind, name))


def forbidden(kind: Kind, name: str, why: str) -> Refused:
    shown = f'{qualified(kind)} "{name}"' if name else qualified(kind)
    return Refused(403, "Forbidden", f"{shown} is forbidden: {why}", _details(kind, name))


def terminating(kind: Kind, name: str, namespace: str) -> Refused:
    """The namespace of a new object is being deleted."""
    text = f"unable to create new content in namespace {namespace} because it is being terminated"
    refused = forbidden(kind, name, text)
    refused.status["details"]["causes"] = [
        {
            "reason": "NamespaceTerminating",
            "message": f"namespace {namespace} is being terminated",
            "field": "metadata.namespace",
        }
    ]
    return refused


def invalid(kind: Kind, name: str, causes: list[tuple[str, str, str]]) -> Refused:
    """``causes`` are (reason, field, message)."""
    listed = [{"reason": reason, "message": message, "field": field} for reason, field, message in causes]
    first = "; ".join(f"{field}: {message}" for _, field, message in causes)
    text = f'{kind.kind}.{kind.group or "core"} "{name}" is invalid: {first}'
    return Refused(422, "Invalid", text, _details(kind, name, causes=listed))


def bad_request(message: str) -> Refused:
    return Refused(400, "BadRequest", message)


def expired(message: str = "The resourceVersion for the provided list or watch is too old.") -> Refused:
    return Refused(410, "Expired", message)


def is_true(text: str) -> bool:
    """Truth as Go reads it."""
    return text in ("1", "t", "T", "true", "TRUE", "True")
