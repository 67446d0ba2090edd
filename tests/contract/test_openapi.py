"""The OpenAPI document describes the server completely and correctly."""

from __future__ import annotations

import ast
import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jsonschema
import pytest
import yaml
from litestar import Litestar
from openapi_spec_validator import OpenAPIV31SpecValidator

import evalhub_server
from evalhub_server.domain.value_rules import CHECKS, STRUCT_CHECKS
from evalhub_server.web.docs import openapi_json
from evalhub_server.web.openapi.rule_schemas import KEYWORDS, STRUCT_KEYWORDS
from evalhub_server.web.request import ApiRequest
from harness import Config, RunningServer

SOURCES = Path(evalhub_server.__file__).parent
PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "openapi.yaml"
SAMPLES = Path(__file__).resolve().parents[1] / "fixtures" / "rest"
METHODS = ("get", "put", "post", "delete", "patch")
EXAMPLE_COLLECTION = {
    "name": "c",
    "category": "x",
    "benchmarks": [{"provider_id": "quickstart", "id": "arithmetic"}],
}
SCHEMA_CODES = {"request_validation_failed", "resolved_sha_read_only"}
READING = {"text", "integer", "boolean", "terms", "given"}
"""Methods of ``Query`` whose first argument is the name of a parameter."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    config = Config(tmp_path_factory.mktemp("openapi") / "config")
    config.provider("exit 3", "arithmetic", provider_id="quickstart")
    with RunningServer(config.folder) as running:
        yield running


@pytest.fixture(scope="module")
def document(server: RunningServer) -> dict[str, Any]:
    return server.get("/openapi.json")


def test_requests_at_the_same_time_generate_the_document_once() -> None:
    app = Litestar([openapi_json], request_class=ApiRequest, openapi_config=None, logging_config=None)
    scope: Any = {"type": "http", "litestar_app": app, "headers": [], "state": {}}

    async def bodies() -> list[bytes]:
        answers = await asyncio.gather(*[openapi_json.fn(ApiRequest(scope)) for _ in range(2)])
        return [answer.body for answer in answers]

    first, second = asyncio.run(bodies())
    assert first is second


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """(method, path, operation) of all."""
    for path, item in document["paths"].items():
        for method in METHODS:
            if method in item:
                yield method.upper(), path, item[method]


def sent(method: str, operation: dict[str, Any]) -> str:
    """The method to send: HEAD for a stream, which may have no end."""
    content = operation["responses"].get("200", {}).get("content", {})
    return "HEAD" if "text/event-stream" in content else method


def query_names(operation: dict[str, Any]) -> list[str]:
    return [p["name"] for p in operation["parameters"] if p.get("in") == "query"]


def validator(document: dict[str, Any], schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator({**schema, "components": document["components"]})


def source_trees(folder: str, without: str = "") -> Iterator[ast.Module]:
    """The modules of a folder of the server, except those of the folder ``without``."""
    for file in sorted((SOURCES / folder).rglob("*.py")):
        if not without or SOURCES / without not in file.parents:
            yield ast.parse(file.read_text("utf-8"))


@pytest.mark.slow
def test_it_is_an_openapi_3_1_document(document: dict[str, Any]):
    assert document["openapi"] == "3.1.0"
    assert document["info"]["version"] == evalhub_server.__version__
    OpenAPIV31SpecValidator(document).validate()


def test_the_published_file_equals_the_served_document(server: RunningServer):
    assert PUBLISHED.read_text("utf-8") == server.get("/openapi.yaml"), (
        "run: python scripts/refresh_openapi.py"
    )


def test_yaml_and_json_are_the_same_and_not_cached(server: RunningServer, document: dict[str, Any]):
    for accept, media_type in (
        (None, "application/yaml"),
        ("text/html, application/json", "application/json"),
    ):
        answer = server.call("GET", "/openapi.yaml", None, {"Accept": accept} if accept else {})
        assert answer.headers["content-type"] == media_type
        assert answer.headers["cache-control"] == "no-cache, no-store, must-revalidate"
        assert (answer.headers["pragma"], answer.headers["expires"]) == ("no-cache", "0")
        assert (yaml.load(answer.body, yaml.CSafeLoader) if accept is None else answer.body) == document


def test_only_the_files_of_the_docs_page_are_omitted():
    hidden = [
        ast.unparse(call.args[0])
        for tree in source_trees("web")
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and any(k.arg == "include_in_schema" for k in call.keywords)
    ]
    assert hidden == ["'/docs/{name:str}'"]


def test_every_documented_operation_exists(server: RunningServer, document: dict[str, Any]):
    for method, path, operation in operations(document):
        endless = "text/event-stream" in operation["responses"].get("200", {}).get("content", {})
        answer = server.call(
            "HEAD" if endless else method,
            path.replace("{benchmark_index}", "0").replace("{", "").replace("}", ""),
        )
        assert answer.body != "404 page not found\n", f"{method} {path}"
        assert answer.status != 405, f"{method} {path}"


ANY_TEXT = (
    "name",
    "outcome",
    "q",
    "group",
    "tag",
    "epoch",
    "error_kind",
    "missing",
    "error",
    "metadata",
    "metric",
    "sort",
    "since",
    "baseline",
    "candidate",
    "jobs",
    "bench",
    "benchmark",
    "by",
    "collection_id",
    "provider_id",
    "benchmark_id",
    "model",
    "allow_parameters",
)
"""Parameters of which any text may be a value, or which are checked against the samples or the collection."""


def test_lists_allow_the_parameters_that_are_documented(server: RunningServer, document: dict[str, Any]):
    lists = [(path, query_names(op)) for _m, path, op in operations(document) if "limit" in query_names(op)]
    assert lists
    for path, documented in lists:
        refusal = server.call("GET", f"{path.replace('{benchmark_index}', '0')}?colour=red").body
        assert refusal["message_code"] == "query_bad_parameter"
        assert refusal["message"].endswith(f"Allowed parameters are: {', '.join(documented)}.")


def test_other_parameters_that_are_documented_are_read(server: RunningServer, document: dict[str, Any]):
    others = [
        (method, path, name)
        for method, path, operation in operations(document)
        if not {"limit", "format"} & {*query_names(operation)}  # lists and tables have tests of their own
        for name in query_names(operation)
        if name not in ANY_TEXT
    ]
    assert others
    for method, path, name in others:
        address = path.replace("{job_id}", server.submit("arithmetic", provider="quickstart"))
        refusal = server.call(method, f"{address.replace('{benchmark_index}', '0')}?{name}=x").body
        assert refusal["message_code"] in ("query_parameter_invalid", "query_parameter_value_invalid")
        assert name in refusal["message"]


def test_parameters_may_be_empty_where_that_is_documented(server: RunningServer, document: dict[str, Any]):
    for method, path, operation in operations(document):
        address = path.replace("{job_id}", "no-such-job").replace("{benchmark_index}", "0")
        required = {
            each["name"]: "x"
            for each in operation["parameters"]
            if each.get("in") == "query" and each.get("required")
        }
        for parameter in operation["parameters"]:
            if parameter.get("in") == "query":
                query = urlencode({**required, parameter["name"]: ""})
                status = server.call(sent(method, operation), f"{address}?{query}").status
                assert (status != 400) is parameter["allowEmptyValue"], f"{method} {path} {parameter['name']}"


def test_every_parameter_that_is_read_is_documented(document: dict[str, Any]):
    read = {
        call.args[0].value
        for tree in source_trees("web")
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in READING
        and call.args
        and isinstance(call.args[0], ast.Constant)
    }
    assert read <= {name for _m, _p, operation in operations(document) for name in query_names(operation)}


def test_every_error_code_is_documented(document: dict[str, Any]):
    raised = {
        ast.literal_eval(call.args[1])
        for tree in source_trees(".", without="viewer")  # its errors are pages
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id == "ApiError"
        and isinstance(call.args[1], ast.Constant)
    }
    documented = {
        example["value"]["message_code"]
        for _method, _path, operation in operations(document)
        for status, answer in operation["responses"].items()
        if int(status) >= 400
        for content in answer["content"].values()
        for example in content["examples"].values()
    }
    # Not an operation's answer, but that of every other method.
    assert raised - documented == {"method_not_allowed"}


def test_every_rule_has_a_json_schema():
    assert KEYWORDS.keys() == CHECKS.keys()
    assert STRUCT_KEYWORDS.keys() == STRUCT_CHECKS.keys()


@pytest.mark.parametrize(
    ("url", "is_url"),
    [
        ("http://model.test:8000/v1?x=100%#f", True),
        ("http://u%20:p@[fe80::1%25en0]:/%41", True),
        ("localhost:8000", True),
        ("mailto:a@b", True),
        ("file:///etc", True),
        ("x:/path#f", True),
        ("http://host:port", False),
        ("http://[::1", False),
        ("http://host/%zz", False),
        ("http://host#%zz", False),
        ("http://a|b", False),
        ("http:/x", False),
        ("file:///", False),
    ],
)
def test_the_pattern_of_a_url_agrees_with_the_rule(url: str, is_url: bool):
    schema = KEYWORDS["url"]({"type": "string"}, None, True)
    assert jsonschema.Draft202012Validator(schema).is_valid(url) is is_url
    assert CHECKS["url"](url, None) is not is_url


def test_operations_parameters_and_schemas_have_descriptions(document: dict[str, Any]):
    for method, path, operation in operations(document):
        assert operation["summary"], f"{method} {path}"
        for parameter in operation["parameters"]:
            assert "$ref" in parameter or parameter["description"], f"{method} {path}: {parameter}"
    for kind, components in document["components"].items():
        assert [name for name, component in components.items() if not component.get("description")] == [], (
            kind
        )


def test_examples_are_valid_for_their_schemas(document: dict[str, Any]):
    checked = 0
    for method, path, operation in operations(document):
        contents = [operation.get("requestBody", {}), *operation["responses"].values()]
        for content in (c for part in contents for c in part.get("content", {}).values()):
            values = [example["value"] for example in content.get("examples", {}).values()]
            values += [content["example"]] if "example" in content else []
            for value in values:
                errors = list(validator(document, content["schema"]).iter_errors(value))
                assert errors == [], f"{method} {path}: {value}"
                checked += 1
    assert checked > 50


def test_examples_of_requests_succeed(server: RunningServer, document: dict[str, Any]):
    bodies = {
        operation["operationId"]: (
            method,
            path,
            operation["requestBody"]["content"]["application/json"]["examples"].values(),
        )
        for method, path, operation in operations(document)
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    jobs, providers, collections = (
        f"/api/v1/evaluations/{name}" for name in ("jobs", "providers", "collections")
    )
    # Its parameter ends it at once, instead of after the retries for a model that does not exist.
    benchmark = {"id": "arithmetic", "provider_id": "quickstart", "parameters": {"num_examples": 0}}
    new = {"collection": server.call("POST", collections, EXAMPLE_COLLECTION).body["resource"]["id"]}
    new["provider"] = server.call("POST", providers, {"name": "p"}).body["resource"]["id"]
    for name, (method, path, examples) in bodies.items():
        for example in examples:
            body = example["value"]
            if name == "create_job" and "collection" in body:
                body = {**body, "collection": {"id": new["collection"]}}  # the example's own is a bundled one
            job_id = server.submit(benchmarks=[benchmark])
            if name == "rerun_job":
                server.finished(job_id)
            if name == "put_baseline":
                body = {"job_id": job_id}
            address = path.replace("{job_id}", job_id).replace("{baseline_name}", "nightly")
            for kind, resource_id in new.items():
                address = address.replace(f"{{{kind}_id}}", resource_id)
            answer = server.call(method, address, body)
            assert answer.status < 300, f"{name}: {answer}"
    assert server.get(jobs)["total_count"] > 2


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("*job-create*", "/api/v1/evaluations/jobs"),
        ("event-*", "/api/v1/evaluations/jobs/{job_id}/events"),
        ("provider-create*", "/api/v1/evaluations/providers"),
        ("collection-create*", "/api/v1/evaluations/collections"),
    ],
)
def test_schemas_refuse_exactly_the_bodies_that_break_a_rule(
    server: RunningServer, document: dict[str, Any], pattern: str, path: str
):
    body = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    schema = validator(document, body)
    verdicts: dict[str, tuple[bool, bool]] = {}
    for file in sorted(SAMPLES.glob(f"{pattern}.json")):
        sent = json.loads(file.read_text("utf-8"))["request"]["body"]
        if not isinstance(sent, str):
            answer = server.call("POST", path, sent)
            broken = answer.status == 400 and answer.body["message_code"] in SCHEMA_CODES
            verdicts[file.stem] = (schema.is_valid(sent), not broken)
    assert verdicts
    assert {name: verdict for name, verdict in verdicts.items() if verdict[0] != verdict[1]} == {}
