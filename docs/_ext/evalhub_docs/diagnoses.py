"""Reasons for failed benchmarks, from the tables of the core and of the Kubernetes runtime."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from evalhub_runtime_k8s import diagnosis as kubernetes
from evalhub_server.domain.diagnosis import TABLE

DEADLINE = (
    "deadline_exceeded",
    "The adapter reported nothing within `supervisor.start_timeout`, or did not finish within `supervisor.run_timeout`",
    "If it needs longer, raise the setting.",
)


def diagnoses(_: str) -> str:
    """One section per runtime, one subsection per reason."""
    core = [DEADLINE, *((row.reason, row.explanation, row.hint) for row in TABLE)]
    cluster = [(row.reason, row.explanation, row.hint) for row in _kubernetes_rows()]
    return f"## In every runtime\n\n{_sections(core)}\n## In a cluster\n\n{_sections(cluster)}"


def _kubernetes_rows() -> list[Any]:
    """Every row with a reason, an explanation and a hint that the module defines, alone or in a table."""
    found: list[Any] = []
    for value in vars(kubernetes).values():
        rows = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else [value]
        found += [row for row in rows if isinstance(row, Struct) and hasattr(row, "explanation")]
    return list(dict.fromkeys(found))


def _sections(rows: list[tuple[str, str, str]]) -> str:
    by_reason: dict[str, list[str]] = {}
    for reason, explanation, hint in rows:
        text = explanation.format(
            code="CODE", signal="SIGNAL", container="CONTAINER", reason="REASON of the kubelet"
        )
        by_reason.setdefault(reason, []).append(f"{text}. {hint}")
    return "\n".join(
        f"### `{reason}`\n\n" + "\n\n".join(dict.fromkeys(texts)) + "\n"
        for reason, texts in by_reason.items()
    )
