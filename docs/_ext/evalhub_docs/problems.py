"""Error codes of the REST API, from the error examples of its OpenAPI document."""

from __future__ import annotations

from typing import Any

from evalhub_docs.rest_api import document, each_operation


def error_codes(_: str) -> str:
    """One section per message code: status, example message, and the operations that answer with it."""
    found: dict[str, dict[str, Any]] = {}
    for name, operation in each_operation(document()):
        for status, answer in operation["responses"].items():
            if int(status) < 400:
                continue
            for example in _examples(answer):
                entry = found.setdefault(
                    example["message_code"], {"statuses": set(), "messages": {}, "operations": []}
                )
                entry["statuses"].add(int(status))
                entry["messages"].setdefault(example["message"], None)
                if name not in entry["operations"]:
                    entry["operations"].append(name)
    total = sum(1 for _ in each_operation(document()))
    return "\n".join(_section(code, found[code], total) for code in sorted(found))


def _examples(answer: dict[str, Any]) -> list[dict[str, Any]]:
    content = answer.get("content", {}).get("application/json", {})
    values = [example["value"] for example in content.get("examples", {}).values()]
    return [*values, *([content["example"]] if "example" in content else [])]


def _section(code: str, entry: dict[str, Any], total: int) -> str:
    statuses = " or ".join(str(status) for status in sorted(entry["statuses"]))
    names = entry["operations"]
    where = "Any operation" if len(names) > total // 2 else ", ".join(f"`{name}`" for name in names)
    # Messages that differ only in the object they name say nothing new.
    messages = list(entry["messages"])[:2]
    quoted = "\n\n".join(f"```text\n{message}\n```" for message in messages)
    return f"## `{code}`\n\nStatus {statuses}. {where}.\n\n{quoted}\n"
