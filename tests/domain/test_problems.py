"""Error answers: status, code and text of the contract (rest-api §2.2)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evalhub_server.domain import problems, request_problems
from evalhub_server.errors import ApiError, EvalHubError, StorageError, StorageUnavailable
from evalhub_server.models.common import State

SAMPLES = Path(__file__).parent.parent / "fixtures" / "rest"


@pytest.mark.parametrize(
    ("error", "status", "code", "fragment"),
    [
        (
            problems.invalid_json("x"),
            400,
            "invalid_json_request",
            "The request JSON is invalid: 'x'. Please check",
        ),
        (
            problems.validation_failed("x"),
            400,
            "request_validation_failed",
            "The request validation failed: 'x'. Please check",
        ),
        (
            problems.body_too_large(10),
            413,
            "request_body_too_large",
            "exceeds the maximum allowed size of 10 bytes",
        ),
        (
            problems.not_found("benchmark", "b"),
            404,
            "resource_not_found",
            "The benchmark resource 'b' was not found.",
        ),
        (
            problems.does_not_exist("provider", "p"),
            400,
            "resource_does_not_exist",
            "The provider with id 'p' does not exist.",
        ),
        (
            problems.hardware_profile_not_found("p"),
            404,
            "hardware_profile_not_found",
            "hardware profile 'p' was not found",
        ),
        (
            problems.hardware_profile_disabled("p"),
            400,
            "hardware_profile_disabled",
            "hardware profile 'p' is disabled",
        ),
        (
            problems.hardware_profile_invalid("p", "x"),
            400,
            "hardware_profile_invalid",
            "hardware profile 'p' is invalid: 'x'",
        ),
        (
            problems.hardware_profile_fetch_failed("p"),
            500,
            "hardware_profile_fetch_failed",
            "Failed to fetch hardware profile 'p'.",
        ),
        (
            problems.job_closed("j", "cancelled", State.PARTIALLY_FAILED),
            409,
            "job_can_not_be_updated",
            "The job j can not be cancelled because it is 'partially_failed'.",
        ),
        (
            problems.benchmark_closed("j", "b", 2, State.FAILED),
            409,
            "job_can_not_be_updated",
            "The job j can not be running because its benchmark 'b' at index 2 is 'failed'",
        ),
        (
            problems.unallowed_patch("add", "/name"),
            400,
            "unallowed_patch",
            "The operation 'add' is not allowed for the path '/name'.",
        ),
        (
            problems.query_parameter_required("since_seconds"),
            400,
            "query_parameter_required",
            "'since_seconds' is required",
        ),
        (
            request_problems.invalid_header("X-Tenant", "is long"),
            400,
            "invalid_header",
            "The header X-Tenant is long.",
        ),
        (
            problems.internal_error("x"),
            500,
            "internal_server_error",
            "An internal server error occurred: 'x'.",
        ),
        (
            problems.from_storage("provider", "p", StorageError("x")),
            500,
            "database_operation_failed",
            "The request for the provider resource p failed: 'x'.",
        ),
        (
            problems.from_storage("provider", "p", StorageUnavailable("full")),
            503,
            "database_operation_failed",
            "The request for the provider resource p failed: 'full'.",
        ),
        (
            problems.query_failed("providers", StorageError("x")),
            500,
            "query_failed",
            "The request for the providers failed: 'x'.",
        ),
        (
            problems.query_failed("providers", StorageUnavailable("full")),
            503,
            "query_failed",
            "The request for the providers failed: 'full'.",
        ),
    ],
)
def test_an_answer_has_the_status_code_and_text_of_the_contract(
    error: ApiError, status: int, code: str, fragment: str
) -> None:
    assert (error.status, error.code) == (status, code)
    assert fragment in error.message
    assert str(error) == error.message
    assert isinstance(error, EvalHubError)


JOB_FILTERS = ("limit", "offset", "status", "name", "tags", "owner", "experiment_id")


@pytest.mark.parametrize(
    ("sample", "error"),
    [
        ("event-404", problems.not_found("evaluation job", "nope")),
        ("job-create-collection-404", problems.not_found("collection", "nope")),
        ("job-create-bad-provider", problems.not_found("provider", "nope")),
        ("job-create-bad-benchmark", problems.does_not_exist("benchmark", "nope")),
        ("job-create-collection-empty", problems.collection_empty("9af3ca2c-bcea-417a-8621-c2074a7eb4de")),
        ("job-create-resolved-sha", problems.resolved_sha_read_only()),
        ("job-create-model-url-required", problems.model_url_required()),
        ("job-create-experiment-no-mlflow", problems.mlflow_required()),
        ("cluster-missing-tenant", request_problems.missing_header("missing_tenant_header", "X-Tenant")),
        ("health-405", problems.method_not_allowed("POST", "/api/v1/health", ["GET"])),
        ("job-cancel-bad-param", problems.query_parameter_invalid("hard_delete", "boolean", "foo")),
        ("job-list-bad-limit", problems.query_parameter_invalid("limit", "integer", "x")),
        ("job-list-bad-param", problems.query_bad_parameter("foo", JOB_FILTERS)),
        ("provider-list-bad-scope", problems.query_parameter_value_invalid("scope", "system|tenant")),
        ("provider-list-scope-owner", problems.query_parameter_mismatch(["owner", "scope"])),
        ("provider-delete-system", problems.read_only("provider", "lm_evaluation_harness")),
        ("collection-delete-system", problems.read_only("collection", "safety-and-fairness-v1")),
        ("collection-patch-bad-op", problems.invalid_patch_operation("test", ("replace", "add", "remove"))),
        ("cluster-missing-user", request_problems.missing_header("missing_user_header", "X-User")),
    ],
)
def test_an_answer_is_the_recorded_one(sample: str, error: ApiError) -> None:
    recorded = json.loads((SAMPLES / f"{sample}.json").read_text())["response"]
    body = recorded["body"]
    assert (error.status, error.code, error.message) == (
        recorded["status"],
        body["message_code"],
        body["message"],
    )


def test_a_closed_connection_and_the_allowed_methods_are_announced_in_headers() -> None:
    assert problems.body_too_large(1).headers == {"Connection": "close"}
    assert problems.method_not_allowed("PUT", "/x", ["GET", "POST"]).headers == {"Allow": "GET, POST"}
    assert problems.not_found("provider", "p").headers == {}
