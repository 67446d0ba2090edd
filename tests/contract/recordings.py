"""Recorded requests and responses of the released server, and their comparison with ours."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any, NamedTuple, Self

FOLDER = Path(__file__).parents[1] / "fixtures" / "rest"

VARIES = {
    "created_at", "updated_at", "collection_updated_at", "timestamp", "trace", "total_count", "runtime",
}  # fmt: skip
"""Clocks and random ids; ``runtime`` is spelled otherwise (decision 1), for which tests/domain has its own replay."""

ADDED = {
    "updated_at": "decision 5",
    "detail": "decisions, also",
    "duration_s": "the time from the first start to the last end, an addition",
    "errors": "the fields at fault, an addition",
    "build": "what evalhub server status prints",
    "runnable": "whether a provider can run on this computer, an addition",
    "next": "fewer or more records than when it was recorded",
}
"""Keys that the released server does not send."""


class Recording(NamedTuple):
    name: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None
    status: int
    answer_headers: dict[str, str]
    answer: Any

    @classmethod
    def read(cls, name: str) -> Self:
        document = json.loads((FOLDER / f"{name}.json").read_text("utf-8"))
        request, response = document["request"], document["response"]
        body = request.get("body")
        data = None if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        return cls(
            name,
            request["method"],
            request["path"],
            request.get("headers") or {},
            data,
            response["status"],
            response["headers"],
            response["body"],
        )

    @property
    def resource_id(self) -> str:
        """The id in the path."""
        return re.split("[/?]", self.path)[5]

    @property
    def code(self) -> str:
        return self.answer["message_code"] if self.status >= 400 else ""


def all_names() -> list[str]:
    """Every recording of one request and its answer; the rest of the folder are documents."""
    return sorted(
        file.stem for file in FOLDER.glob("*.json") if "request" in json.loads(file.read_text("utf-8"))
    )


def differences(recorded: Any, ours: Any, path: str = "$") -> list[str]:
    """Differences from the recording: missing or other values, and unexpected keys."""
    key = path.rpartition(".")[2]
    if key in VARIES:
        return []
    if isinstance(recorded, dict) and isinstance(ours, dict):
        found = [f"{path}.{name} is missing" for name in recorded if name not in ours]
        found += [f"{path}.{name} is new" for name in ours if name not in recorded and name not in ADDED]
        for name in recorded.keys() & ours.keys():
            found += differences(recorded[name], ours[name], f"{path}.{name}")
        return found
    if isinstance(recorded, list) and isinstance(ours, list):
        if path.endswith(("domains", "tasks", "modalities", "evaluation_targets")):
            recorded, ours = sorted(recorded), sorted(ours)  # decision 26
        found = [] if len(recorded) == len(ours) else [f"{path} has {len(ours)} items, not {len(recorded)}"]
        for index, (one, other) in enumerate(zip(recorded, ours, strict=False)):
            found += differences(one, other, f"{path}[{index}]")
        return found
    if isinstance(recorded, float) and isinstance(ours, int | float):
        return [] if abs(recorded - ours) < 1e-6 else [f"{path} is {ours}, not {recorded}"]  # decision 36
    return [] if recorded == ours else [f"{path} is {ours!r}, not {recorded!r}"]
