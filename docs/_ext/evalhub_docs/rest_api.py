"""Operations of the REST API, from the OpenAPI document that the server serves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import yaml

OPENAPI = Path(__file__).parents[2] / "openapi.yaml"
METHODS = ("get", "post", "put", "patch", "delete")


@cache
def document() -> dict[str, Any]:
    """The published document; a test keeps it equal to what the server serves."""
    return yaml.safe_load(OPENAPI.read_text("utf-8"))


def each_operation(api: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (``METHOD path``, operation) in the document's order."""
    for path, item in api["paths"].items():
        for method in METHODS:
            if method in item:
                yield f"{method.upper()} {path}", item[method]


def operations(tag: str) -> str:
    """One section per operation of a tag: what it does, parameters, body, answer and errors."""
    api = document()
    return "\n".join(
        _section(api, name, operation) for name, operation in each_operation(api) if tag in operation["tags"]
    )


def _section(api: dict[str, Any], name: str, operation: dict[str, Any]) -> str:
    parts = [f"## {operation['summary']}", f"```text\n{name}\n```", operation.get("description", "").strip()]
    parameters = [_resolved(api, each) for each in operation.get("parameters", [])]
    if parameters:
        parts += ["**Parameters**", "\n".join(_parameter(api, each) for each in parameters)]
    if body := operation.get("requestBody"):
        parts.append(_body(body))
    answers = {int(status): answer for status, answer in operation["responses"].items()}
    for status, answer in answers.items():
        if status < 400:
            parts.append(f"**{status}**: {_resolved(api, answer)['description'].strip()}")
            parts.append(_example(_resolved(api, answer)))
    errors = [
        f"* **{status}**: {_resolved(api, answer)['description'].strip()}"
        for status, answer in answers.items()
        if status >= 400
    ]
    if errors:
        parts += ["**Errors**", "\n".join(errors)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _parameter(api: dict[str, Any], parameter: dict[str, Any]) -> str:
    schema = _resolved(api, parameter.get("schema", {}))
    facts = [parameter["in"], _type(schema)]
    if parameter.get("required"):
        facts.append("required")
    if "default" in schema:
        facts.append(f"default {schema['default']}")
    text = " ".join(parameter.get("description", "").split())
    return f"* `{parameter['name']}` ({', '.join(fact for fact in facts if fact)}): {text}".rstrip(": ")


def _type(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " | ".join(f"`{value}`" for value in schema["enum"])
    kind = schema.get("type", "")
    return kind if isinstance(kind, str) else " or ".join(kind)


def _body(body: dict[str, Any]) -> str:
    parts: list[str] = []
    for media, content in body["content"].items():
        reference = content.get("schema", {}).get("$ref", "").rpartition("/")[2]
        schema = f", schema `{reference}`" if reference else ""
        parts.append(f"**Body**: `{media}`{schema}")
        parts.append(_example({"content": {media: content}}))
    return "\n\n".join(part for part in parts if part)


def _example(answer: dict[str, Any]) -> str:
    for media, content in answer.get("content", {}).items():
        examples = [each["value"] for each in content.get("examples", {}).values()]
        examples += [content["example"]] if "example" in content else []
        for example in examples[:1]:
            if "json" in media:
                return f"```json\n{json.dumps(example, indent=2, ensure_ascii=False)}\n```"
            return f"```text\n{str(example).strip()}\n```"
    return ""


def _resolved(api: dict[str, Any], item: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in item:
        target: Any = api
        for part in item["$ref"].removeprefix("#/").split("/"):
            target = target[part]
        item = target
    return item
