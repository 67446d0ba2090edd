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
SCHEMAS = "schemas.md"
"""The page of all schemas, beside those of the operations."""


@cache
def document() -> dict[str, Any]:
    """The published document; a test keeps it equal to what the server serves."""
    return yaml.load(OPENAPI.read_text("utf-8"), yaml.CSafeLoader)


def each_operation(api: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield (``METHOD path``, operation) in the document's order."""
    for path, item in api["paths"].items():
        for method, operation in item.items():
            if method in METHODS:
                yield f"{method.upper()} {path}", operation


def operations(tag: str) -> str:
    """One section per operation of a tag: what it does, parameters, body, answer and errors."""
    api = document()
    return "\n".join(
        _section(api, name, operation) for name, operation in each_operation(api) if tag in operation["tags"]
    )


def headers(_: str) -> str:
    """The request headers that operations share."""
    return "\n".join(_parameter(document(), each) for each in document()["components"]["parameters"].values())


def schemas(_: str) -> str:
    """One section per schema: what it is, and its fields with type and rules."""
    return "\n".join(_schema(name, schema) for name, schema in document()["components"]["schemas"].items())


def _schema(name: str, schema: dict[str, Any]) -> str:
    parts = [f"## {name}", schema.get("description", "").strip()]
    required = set(schema.get("required", ()))
    lines: list[str] = []
    for field, value in schema.get("properties", {}).items():
        facts = [_type(value), *(["required"] if field in required else []), *_rules(value)]
        text = " ".join(value.get("description", "").split())
        lines.append(f"* `{field}` ({', '.join(facts)})" + (f": {text}" if text else ""))
    parts += ["\n".join(lines)] if lines else [f"Type: {_type(schema)}."]
    return "\n\n".join(part for part in parts if part) + "\n"


def _rules(schema: dict[str, Any]) -> list[str]:
    """The keywords of JSON Schema that restrict a value, in words."""
    words = {
        "minLength": "at least {} characters",
        "maxLength": "at most {} characters",
        "minItems": "at least {} items",
        "maxItems": "at most {} items",
        "minimum": "at least {}",
        "maximum": "at most {}",
        "exclusiveMinimum": "above {}",
        "format": "{}",
        "default": "default `{}`",
    }
    rules = {word: text.format(schema[word]) for word, text in words.items() if word in schema}
    if schema.get("minLength") == 1:
        rules["minLength"] = "not empty"
    if "enum" in schema:
        rules.pop("minLength", None)
    # The range of 64 bits is what JSON libraries can write, not a rule about the value.
    return [text for word, text in rules.items() if not _is_64_bit_bound(schema[word])]


def _is_64_bit_bound(value: object) -> bool:
    return isinstance(value, int) and abs(value) >= 2**63 - 1


def _section(api: dict[str, Any], name: str, operation: dict[str, Any]) -> str:
    parts = [f"## {operation['summary']}", f"```text\n{name}\n```", operation.get("description", "").strip()]
    own = [each for each in operation.get("parameters", []) if "$ref" not in each]
    parameters = [_resolved(api, each) for each in own]
    if parameters:
        parts += ["**Parameters**", "\n".join(_parameter(api, each) for each in parameters)]
    if body := operation.get("requestBody"):
        parts.append(_body(body))
    answers = {int(status): _resolved(api, each) for status, each in operation["responses"].items()}
    for status, answer in answers.items():
        if status < 400:
            parts.append(f"**{status}**: {answer['description'].strip()}{_answer_schema(answer)}")
            parts.append(_example(answer))
    errors = [
        f"* **{status}**: {answer['description'].strip()}"
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
    if "$ref" in schema:
        return _link(schema["$ref"])
    if "enum" in schema:
        return " or ".join(f"`{json.dumps(value)}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{json.dumps(schema['const'])}`"
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return " or ".join(dict.fromkeys(_type(each) for each in schema[word]))
    kinds = schema.get("type", "any JSON value")
    return " or ".join(_kind(schema, kind) for kind in ([kinds] if isinstance(kinds, str) else kinds))


def _kind(schema: dict[str, Any], kind: str) -> str:
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    extra = schema.get("additionalProperties")
    return f"map to {_type(extra)}" if kind == "object" and isinstance(extra, dict) and extra else kind


def _link(reference: str) -> str:
    name = reference.rpartition("/")[2]
    return f"[{name}]({SCHEMAS}#{name.lower()})"


def _body(body: dict[str, Any]) -> str:
    parts: list[str] = []
    for media, content in body["content"].items():
        reference = content.get("schema", {}).get("$ref", "")
        schema = f", {_link(reference)}" if reference else ""
        parts.append(f"**Body**: `{media}`{schema}")
        parts.append(_example({"content": {media: content}}))
    return "\n\n".join(part for part in parts if part)


def _answer_schema(answer: dict[str, Any]) -> str:
    references = {
        content["schema"]["$ref"]
        for content in answer.get("content", {}).values()
        if "$ref" in content.get("schema", {})
    }
    return "".join(f" ({_link(reference)})" for reference in sorted(references))


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
