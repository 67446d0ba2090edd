"""The error responses of the REST API: one function for each code, with its status and text."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalhub_server.errors import ApiError, FieldError, NotFound, StorageError, StorageUnavailable
from evalhub_server.models.common import State

_AT_FIELD = re.compile(r"(.+) - at `(?:key in )?\$\.?([^`]*)`")
"""How msgspec ends the message about a wrong type."""
RETRY_AFTER_S = "10"
"""When a request to a cluster that is unavailable is worth repeating."""


def invalid_json(error: str) -> ApiError:
    text = f"The request JSON is invalid: '{error}'. Please check the request and try again."
    match = _AT_FIELD.fullmatch(error)
    errors = [FieldError(match[2], match[1])] if match else []
    return ApiError(400, "invalid_json_request", text, reason=error, errors=errors)


def validation_failed(error: str, errors: Sequence[FieldError] = ()) -> ApiError:
    text = f"The request validation failed: '{error}'. Please check the request and try again."
    return ApiError(400, "request_validation_failed", text, reason=error, errors=errors)


def too_many_benchmarks(count: int, limit: int) -> ApiError:
    return validation_failed(
        f"a job has at most {limit} benchmarks, and this one has {count}; split it, or raise "
        "service.max_benchmarks_per_job"
    )


def body_too_large(limit_bytes: int) -> ApiError:
    text = f"The request body exceeds the maximum allowed size of {limit_bytes} bytes."
    return ApiError(413, "request_body_too_large", text, {"Connection": "close"})


def too_many_request_bodies(limit_bytes: int) -> ApiError:
    text = (
        f"The server is receiving and processing request bodies of more than {limit_bytes} bytes in total. Retry in a second, "
        "or send fewer or smaller requests at the same time."
    )
    return ApiError(503, "too_many_request_bodies", text, {"Retry-After": "1", "Connection": "close"})


def not_found(kind: str, resource_id: str) -> ApiError:
    """``kind`` is one of: evaluation job, collection, provider, benchmark, sample, artifact."""
    return ApiError(404, "resource_not_found", f"The {kind} resource '{resource_id}' was not found.")


def does_not_exist(kind: str, resource_id: str) -> ApiError:
    return ApiError(400, "resource_does_not_exist", f"The {kind} with id '{resource_id}' does not exist.")


def collection_empty(collection_id: str) -> ApiError:
    return ApiError(400, "collection_empty", f"The collection {collection_id} does not have any benchmarks.")


def resolved_sha_read_only() -> ApiError:
    text = "The field 'resolved_sha' is read-only and must not be set on create."
    return ApiError(400, "resolved_sha_read_only", text)


def model_url_required() -> ApiError:
    text = "The model URL is required when not all benchmarks have pre-recorded data."
    return ApiError(400, "model_url_required", text, errors=[FieldError("model.url", "is required")])


def invalid_secret_ref_uri(secret_ref: str) -> ApiError:
    text = (
        f"The model.auth.secret_ref '{secret_ref}' must use the file:///path form "
        "(e.g. file:///home/user/secret) in local mode."
    )
    errors = [FieldError("model.auth.secret_ref", "must use the file:///path form")]
    return ApiError(400, "invalid_secret_ref_uri", text, errors=errors)


def invalid_secret_ref_uri_parse(secret_ref: str, detail: str) -> ApiError:
    text = f"The model.auth.secret_ref '{secret_ref}' is not a valid URI: {detail}."
    errors = [FieldError("model.auth.secret_ref", f"is not a valid URI: {detail}")]
    return ApiError(400, "invalid_secret_ref_uri_parse", text, errors=errors)


def local_runtime_not_enabled(provider_id: str, reason: str, fix: str) -> ApiError:
    text = f"The provider '{provider_id}' cannot run on this computer: {reason}. {fix}"
    return ApiError(400, "local_runtime_not_enabled", text, reason=f"{reason}. {fix}")


def mlflow_required() -> ApiError:
    text = (
        "MLflow is required for experiment tracking. "
        "Please configure MLflow in the service configuration and try again."
    )
    return ApiError(400, "mlflow_required_for_experiment", text)


def hardware_profile_not_found(name: str) -> ApiError:
    return ApiError(404, "hardware_profile_not_found", f"The hardware profile '{name}' was not found.")


def hardware_profile_disabled(name: str) -> ApiError:
    return ApiError(400, "hardware_profile_disabled", f"The hardware profile '{name}' is disabled.")


def hardware_profile_invalid(name: str, error: str) -> ApiError:
    return ApiError(400, "hardware_profile_invalid", f"The hardware profile '{name}' is invalid: '{error}'.")


def hardware_profile_fetch_failed(name: str, *, unavailable: bool = False) -> ApiError:
    """``unavailable``: the cluster does not answer, so that the request can be repeated."""
    status, headers = (503, {"Retry-After": RETRY_AFTER_S}) if unavailable else (500, {})
    text = f"Failed to fetch hardware profile '{name}'."
    return ApiError(status, "hardware_profile_fetch_failed", text, headers)


def job_closed(job_id: str, new_state: str, state: State) -> ApiError:
    text = f"The job {job_id} can not be {new_state} because it is '{state.value}'."
    return ApiError(409, "job_can_not_be_updated", text)


def not_rerunnable(job_id: str, reason: str) -> ApiError:
    """``reason`` is a clause about the job ("has not ended")."""
    return ApiError(409, "job_can_not_be_rerun", f"The job {job_id} can not be rerun because it {reason}.")


def idempotency_key_reused(job_id: str) -> ApiError:
    text = (
        f"The Idempotency-Key was used for another request, which created the job {job_id}. Send the same request again, or "
        "use another key."
    )
    errors = [FieldError("Idempotency-Key", "was used for another request")]
    return ApiError(422, "idempotency_key_reused", text, errors=errors)


def started_by(runtime: str) -> str:
    """Why nothing can be done about a workload of a runtime that is not selected, and the remedy."""
    return f"started by runtime {runtime}; select it again"


def runtime_not_selected(job_id: str, new_state: str, index: int, runtime: str) -> ApiError:
    text = f"The job {job_id} can not be {new_state} because its benchmark at index {index} was {started_by(runtime)}."
    return ApiError(409, "job_can_not_be_updated", text)


def exports_not_retried(job_id: str, kind: str, name: str) -> ApiError:
    text = (
        f"The exports of the job {job_id} can not be retried because the {kind} '{name}' is not selected. "
        f"Add it to plugins.{kind}s in the server's configuration."
    )
    return ApiError(409, "exporter_not_selected", text)


def benchmark_closed(job_id: str, benchmark_id: str, index: int, state: State) -> ApiError:
    text = (
        f"The job {job_id} can not be running because its benchmark '{benchmark_id}' at index {index} "
        f"is '{state.value}', which the event contradicts."
    )
    return ApiError(409, "job_can_not_be_updated", text)


def attempt_superseded(job_id: str, index: int, attempt: int, current: int) -> ApiError:
    text = (
        f"The upload is of attempt {attempt} of the benchmark at index {index} of job {job_id}, but its current attempt is "
        f"{current}; samples and artifacts of other attempts are not stored."
    )
    return ApiError(409, "attempt_superseded", text)


def samples_not_available(job_id: str, index: int, state: str, message: str) -> ApiError:
    """``state`` and ``message`` are those of the sample set."""
    why = {
        "pending": "the server has not stored them yet; try again in a moment",
        "none": message or "its adapter left none",
        "failed": message,
    }[state]
    text = f"The benchmark at index {index} of job {job_id} has no samples to show: {why}."
    return ApiError(404, "samples_not_available", text)


def baseline_name_invalid(name: str) -> ApiError:
    text = f"The baseline name '{name}' is not valid: use 1 to 100 letters, digits, '.', '_' or '-', the first a letter or digit."
    return ApiError(400, "baseline_name_invalid", text)


def baseline_job_missing(name: str, job_id: str) -> ApiError:
    text = f"The baseline '{name}' names the job {job_id}, which does not exist any more. Let it name another job."
    return ApiError(409, "baseline_job_missing", text)


def same_job(job_id: str) -> ApiError:
    text = f"The job {job_id} is baseline and candidate at once; compare it with another job."
    return ApiError(
        400, "nothing_to_compare", text, errors=[FieldError("candidate", "is the baseline itself")]
    )


def too_few_jobs(count: int) -> ApiError:
    text = f"A leaderboard needs at least two jobs; the request names {count}."
    return ApiError(400, "nothing_to_compare", text, errors=[FieldError("jobs", "names fewer than two jobs")])


def unknown_metric(metric: str, known: Sequence[str]) -> ApiError:
    names = ", ".join(f"'{name}'" for name in known) or "none"
    text = f"No benchmark of the jobs has the metric '{metric}'; they have {names}."
    return ApiError(400, "unknown_metric", text, errors=[FieldError("metric", f"is none of {names}")])


def upload_too_large(what: str, limit_bytes: int, setting: str) -> ApiError:
    text = f"The {what} exceeds the maximum size of {limit_bytes} bytes. The server's setting {setting} raises it."
    return ApiError(413, "upload_too_large", text, {"Connection": "close"})


def too_many_artifacts(limit: int) -> ApiError:
    text = f"The benchmark has {limit} artifacts, the maximum number. The server's setting samples.max_artifacts raises it."
    return ApiError(413, "upload_too_large", text, {"Connection": "close"})


def sample_store_unavailable(reason: str) -> ApiError:
    """``reason`` is a clause about the store."""
    text = f"The store of samples is unavailable: {reason}. Repeat the request when it is available again."
    return ApiError(503, "sample_store_unavailable", text, {"Retry-After": "5"})


def samples_not_kept(reason: str) -> ApiError:
    return ApiError(409, "samples_not_kept", f"This server keeps no samples: {reason}.")


def query_parameter_invalid(name: str, kind: str, value: str) -> ApiError:
    text = f"The query parameter '{name}' is not a valid {kind}: '{value}'."
    errors = [FieldError(name, f"is not a valid {kind}")]
    return ApiError(400, "query_parameter_invalid", text, errors=errors)


def query_parameter_value_invalid(name: str, allowed: str) -> ApiError:
    text = f"The query parameter '{name}' is not valid. Allowed values are: '{allowed}'."
    return ApiError(
        400, "query_parameter_value_invalid", text, errors=[FieldError(name, f"must be one of: {allowed}")]
    )


def query_parameter_required(name: str) -> ApiError:
    text = f"The query parameter '{name}' is required."
    return ApiError(400, "query_parameter_required", text, errors=[FieldError(name, "is required")])


def query_bad_parameter(name: str, allowed: Sequence[str]) -> ApiError:
    names = ", ".join(allowed)
    text = f"The parameter '{name}' is not a valid query parameter. Allowed parameters are: {names}."
    return ApiError(400, "query_bad_parameter", text, errors=[FieldError(name, "is unknown")])


def query_parameter_mismatch(names: Sequence[str]) -> ApiError:
    text = f"The query parameters '{','.join(names)}' are mutually exclusive."
    errors = [FieldError(name, "excludes the other parameters named here") for name in names]
    return ApiError(400, "query_parameter_mismatch", text, errors=errors)


def remote_commands_not_allowed() -> ApiError:
    text = (
        "Clients may not set commands (runtime.local) on this server, because other computers can reach it. Put the "
        "provider into a file in providers/ of the server's configuration, or set local.allow_remote_commands: true there."
    )
    return ApiError(403, "remote_commands_not_allowed", text)


def read_only(kind: str, resource_id: str) -> ApiError:
    """``kind`` is one of: provider, collection."""
    text = f"{kind.capitalize()} '{resource_id}' cannot be modified or deleted."
    return ApiError(400, f"read_only_{kind}", text)


def invalid_patch_operation(operation: str, allowed: Sequence[str]) -> ApiError:
    text = f"The patch operation '{operation}' is not valid. Allowed operations are: {', '.join(allowed)}."
    return ApiError(400, "invalid_patch_operation", text)


def unallowed_patch(operation: str, path: str) -> ApiError:
    text = f"The operation '{operation}' is not allowed for the path '{path}'."
    return ApiError(400, "unallowed_patch", text)


def precondition_failed(kind: str, resource_id: str) -> ApiError:
    text = (
        f"The {kind} resource '{resource_id}' was changed after the client had read it: its ETag is not in If-Match. Read it "
        "again, then repeat the change."
    )
    return ApiError(412, "precondition_failed", text)


def method_not_allowed(method: str, uri: str, allowed: Sequence[str]) -> ApiError:
    text = f"The HTTP method {method} is not allowed for the API {uri}."
    return ApiError(405, "method_not_allowed", text, {"Allow": ", ".join(allowed)})


def internal_error(error: str) -> ApiError:
    return ApiError(500, "internal_server_error", f"An internal server error occurred: '{error}'.")


def runtime_unavailable(text: str) -> ApiError:
    """The runtime cannot do what was requested at present; ``text`` is a clause that names what, and why."""
    return ApiError(
        503,
        "runtime_unavailable",
        f"The runtime is unavailable: '{text}'. Repeat the request.",
        {"Retry-After": RETRY_AFTER_S},
    )


def query_failed(resources: str, error: StorageError) -> ApiError:
    """A list request that the storage failed; ``resources`` is the plural, such as evaluation jobs."""
    text = f"The request for the {resources} failed: '{error}'."
    return ApiError(_status(error), "query_failed", text)


def from_storage(kind: str, resource_id: str, error: StorageError, note: str = "") -> ApiError:
    """A storage error as the response about one resource; ``note`` is a sentence to append."""
    if isinstance(error, NotFound):
        return not_found(kind, resource_id)
    text = f"The request for the {kind} resource {resource_id} failed: '{error}'."
    text = f"{text} {note}" if note else text
    return ApiError(_status(error), "database_operation_failed", text)


def _status(error: StorageError) -> int:
    # The contract has only 500. Clients that retry, such as the sidecar with events, retry a 503 for longer.
    return 503 if isinstance(error, StorageUnavailable) else 500
