"""What JSON Schema cannot say of valid requests, and which benchmarks there are. Invalid ones stay as they are."""

from __future__ import annotations

from typing import Any

import schemathesis

BENCHMARK = {"provider_id": "quickstart", "id": "arithmetic"}
COLLECTION = "quickstart-v1"
TENANT = "team"  # of all valid requests, so that one finds what another has made


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    if case.meta is None or case.meta.generation.mode.is_negative:
        return
    case.headers["X-Tenant"] = TENANT
    if isinstance(case.body, dict | list):
        case.body = without_paths_of_test_data(without_integral_floats(case.body))
    match case.operation.definition.raw["operationId"]:
        case "create_job" if isinstance(case.body, dict):
            case.body = with_what_there_is(case.body)
        case "report_event" if isinstance(case.body, dict):
            case.body = {
                **case.body,
                "benchmark_status_event": with_described_metrics(case.body["benchmark_status_event"]),
            }
        case "list_providers" | "list_collections":
            if case.query.get("scope"):  # not together with owner, and OpenAPI knows no such rule
                case.query.pop("owner", None)
        case "list_jobs" if case.query.get("status"):  # the two exclude each other
            case.query.pop("running_first", None)
        case "get_estimates" if case.query.get("collection_id"):  # the same
            case.query.pop("provider_id", None)
        case "collection_leaderboard":  # which values there are depends on the collection
            chosen = {"bench": "quickstart/arithmetic", "sort": "overall"}
            case.query |= {name: value for name, value in chosen.items() if case.query.get(name)}
        case "export" if case.query.get("jobs"):  # not together with filters
            case.query = {
                name: case.query[name] for name in ("jobs", "format", "level") if name in case.query
            }
        case "list_samples" if case.query.get("sample_id"):  # not together with filters
            case.query = {name: case.query[name] for name in ("sample_id", "epoch") if name in case.query}
        case "list_samples" if case.query.get("after"):
            case.query.pop("offset", None)  # the two exclude each other
        case "get_job" if case.query.get("wait"):
            case.query["wait"] = "10ms"  # generated ones are minutes long
        case "upload_artifact":
            case.query["name"] = "report.txt"
        case "rerun_job" if isinstance(case.body, dict) and case.body.get("only") == []:
            case.body = {**case.body, "only": "all"}
        case "create_provider" | "replace_provider" if isinstance(case.body, dict):
            case.body = without_metric_ranges(case.body)
            if isinstance(case.body.get("runtime"), dict):  # rules about several of its fields at once
                case.body["runtime"] = {**case.body["runtime"], "local": {"command": "true"}}


def without_metric_ranges(body: dict[str, Any]) -> dict[str, Any]:
    """Ranges have their bounds in order, and each metric is listed once, which OpenAPI cannot say."""
    for benchmark in body.get("benchmarks") or []:
        if isinstance(benchmark, dict) and isinstance(listed := benchmark.get("metric_properties"), list):
            benchmark["metric_properties"] = list(
                {each["metric"]: each for each in listed if isinstance(each, dict)}.values()
            )
        for properties in (benchmark or {}).get("metric_properties") or []:
            if isinstance(properties, dict):
                properties.pop("range", None)
    return body


def without_integral_floats(value: Any) -> Any:
    """JSON Schema counts 1.0 among the integers; the contract does not."""
    if isinstance(value, dict):
        return {key: without_integral_floats(member) for key, member in value.items()}
    if isinstance(value, list):
        return [without_integral_floats(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def without_paths_of_test_data(body: Any) -> Any:
    """Which directories there are depends on the computer, and ``test_data_ref`` excludes them."""
    for members in (body, body.get("collection")) if isinstance(body, dict) else ():
        for benchmark in (members.get("benchmarks") or []) if isinstance(members, dict) else []:
            if isinstance(benchmark, dict):
                benchmark.pop("test_data_path", None)
    return body


def with_what_there_is(body: dict[str, Any]) -> dict[str, Any]:
    """Jobs of benchmarks that exist, or nearly all requests would end in 404.

    There is no tracker for experiments, and no registry that exports may go to.
    """
    body = {key: value for key, value in body.items() if key not in ("experiment", "exports")}
    if isinstance(body.get("model"), dict) and not body["model"].get("url"):
        body["model"] = {**body["model"], "url": "http://model.test/v1"}
    if body.get("benchmarks"):
        body["benchmarks"] = [{**benchmark, **BENCHMARK} for benchmark in body["benchmarks"]]
    elif body.get("collection"):
        overrides = body["collection"].get("benchmarks") or []
        body["collection"] = {
            **body["collection"],
            "id": COLLECTION,
            "benchmarks": [{**override, **BENCHMARK} for override in overrides],
        }
    return body


def with_described_metrics(event: dict[str, Any]) -> dict[str, Any]:
    """Every metric that is described is there, and is described once."""
    schemas = {schema["name"]: schema for schema in event.get("metrics_schema") or []}
    metrics = dict.fromkeys(schemas, 0.5) | (event.get("metrics") or {})
    return {**event, "metrics": metrics, "metrics_schema": [*schemas.values()]}
