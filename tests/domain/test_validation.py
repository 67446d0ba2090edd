"""From bytes to a value that keeps the contract's rules (rest-api §1.4, 2.3, 3, 4.2)."""

from __future__ import annotations

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evalhub_server.domain.validation import MAX_DEPTH, convert, decode, decode_job, validate
from evalhub_server.errors import ApiError
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.event import StatusEvent
from evalhub_server.models.job import BenchmarkRef, JobRequest, Model
from evalhub_server.models.provider import ProviderConfig

NAMES: dict[type[msgspec.Struct], str] = {
    JobRequest: "EvaluationJobConfig",
    StatusEvent: "StatusEvent",
    CollectionConfig: "CollectionConfig",
    ProviderConfig: "ProviderConfig",
}
A_BENCHMARK: dict[str, Any] = {"id": "b", "provider_id": "p"}


def a_job(**fields: Any) -> dict[str, Any]:
    return {"name": "j", "model": {"url": "http://m", "name": "m"}, "benchmarks": [A_BENCHMARK]} | fields


def a_benchmark(**fields: Any) -> dict[str, Any]:
    return a_job(benchmarks=[A_BENCHMARK | fields])


def some_data(**fields: Any) -> dict[str, Any]:
    return a_benchmark(test_data_ref=fields)


def an_event(**fields: Any) -> dict[str, Any]:
    return {"benchmark_status_event": {"provider_id": "p", "id": "b", "status": "running"} | fields}


def a_collection(**fields: Any) -> dict[str, Any]:
    return {"name": "c", "category": "x", "benchmarks": [A_BENCHMARK]} | fields


def refusal(body: bytes, type_: type[msgspec.Struct] = JobRequest) -> ApiError:
    with pytest.raises(ApiError) as caught:
        validate(decode(body, type_), NAMES.get(type_, "X"))
    assert caught.value.status == 400
    return caught.value


def complaint(document: dict[str, Any], type_: type[msgspec.Struct] = JobRequest) -> str:
    """What the text of a failed validation says between its quotes."""
    error = refusal(json.dumps(document).encode(), type_)
    assert error.code == "request_validation_failed"
    head, tail = "The request validation failed: '", "'. Please check the request and try again."
    assert error.message.startswith(head)
    assert error.message.endswith(tail)
    return error.message[len(head) : -len(tail)]


def failed(path: str, rule: str) -> str:
    field = path.rpartition(".")[2]
    return f"Key: '{path}' Error:Field validation for '{field}' failed on the '{rule}' tag"


# --- rules ----------------------------------------------------------------------------------------------------

LONG = "x" * 5001

JOB_RULES: list[tuple[dict[str, Any], str, str]] = [
    (a_job(name=""), "name", "required"),
    (a_job(model=None), "model", "required"),
    (a_job(model={}), "model.name", "required"),
    (a_job(model={"name": "m", "url": "x"}), "model.url", "url"),
    (a_job(model={"name": "m", "auth": {}}), "model.auth.secret_ref", "required"),
    (a_job(tags=["ok", "a,b"]), "tags[1]", "tagname"),
    (a_job(tags=[""]), "tags[0]", "tagname"),
    (a_job(tags=["x" * 129]), "tags[0]", "tagname"),
    (a_job(pass_criteria={}), "pass_criteria.threshold", "required"),
    (a_job(benchmarks=[]), "benchmarks", "minimum one benchmark"),
    (a_job(collection={"id": "c"}), "benchmarks", "benchmarks or collection"),
    (a_job(collection={}), "collection.id", "required"),
    (a_job(benchmarks=[{"provider_id": "p"}]), "benchmarks[0].Ref.id", "required"),
    (a_job(benchmarks=[A_BENCHMARK, {"id": "b"}]), "benchmarks[1].provider_id", "required"),
    (
        a_job(benchmarks=[], collection={"id": "c", "benchmarks": [{"provider_id": "p"}]}),
        "collection.benchmarks[0].Ref.id",
        "required",
    ),
    (a_benchmark(weight=-0.1), "benchmarks[0].weight", "min"),
    (a_benchmark(primary_score={}), "benchmarks[0].primary_score.metric", "required"),
    (a_benchmark(pass_criteria={}), "benchmarks[0].pass_criteria.threshold", "required"),
    (a_job(experiment={}), "experiment.name", "notblank"),
    (a_job(experiment={"name": " \t"}), "experiment.name", "notblank"),
    (a_job(experiment={"name": "e", "tags": [{"key": "k", "value": "v"}] * 21}), "experiment.tags", "max"),
    (a_job(experiment={"name": "e", "tags": [{"value": "v"}]}), "experiment.tags[0].key", "required"),
    (a_job(experiment={"name": "e", "tags": [{"key": "k"}]}), "experiment.tags[0].value", "required"),
    (
        a_job(experiment={"name": "e", "tags": [{"key": "k" * 251, "value": "v"}]}),
        "experiment.tags[0].key",
        "max",
    ),
    (
        a_job(experiment={"name": "e", "tags": [{"key": "k", "value": LONG}]}),
        "experiment.tags[0].value",
        "max",
    ),
    (a_job(exports={"oci": {}}), "exports.oci.coordinates", "required"),
    (
        a_job(exports={"oci": {"coordinates": {"oci_repository": "r"}}}),
        "exports.oci.coordinates.oci_host",
        "required",
    ),
    (
        a_job(exports={"oci": {"coordinates": {"oci_host": "h"}}}),
        "exports.oci.coordinates.oci_repository",
        "required",
    ),
    (
        a_job(exports={"oci": {"coordinates": {"oci_host": "h", "oci_repository": "r"}, "k8s": {}}}),
        "exports.oci.k8s.connection",
        "required",
    ),
    (a_job(queue={}), "queue.name", "required"),
    (a_job(queue={"name": " q "}), "queue.name", "rfc1123_dns_label"),
    (
        a_job(hardware_config={"hardware_profile_name": "A"}),
        "hardware_config.hardware_profile_name",
        "rfc1123_dns_label",
    ),
    (a_job(hardware_config={"queue": {"kind": "kueue"}}), "hardware_config.queue.name", "required"),
    (some_data(pvc={}), "benchmarks[0].test_data_ref.pvc.claim_name", "required"),
    (
        some_data(pvc={"claim_name": "x" * 64}),
        "benchmarks[0].test_data_ref.pvc.claim_name",
        "rfc1123_dns_label",
    ),
    (some_data(s3={"bucket": "b", "key": "k"}), "benchmarks[0].test_data_ref.s3.secret_ref", "required"),
    (some_data(hf={}), "benchmarks[0].test_data_ref.hf.repo_id", "notblank"),
    (some_data(hf={"repo_id": " "}), "benchmarks[0].test_data_ref.hf.repo_id", "notblank"),
    (
        some_data(hf={"repo_id": "o/d", "secret_ref": "A"}),
        "benchmarks[0].test_data_ref.hf.secret_ref",
        "rfc1123_dns_label",
    ),
    (some_data(git={"ref": "main"}), "benchmarks[0].test_data_ref.git.url", "required"),
    (some_data(git={"url": "https://h.com"}), "benchmarks[0].test_data_ref.git.ref", "required"),
    (some_data(git={"url": "git@h.com:x", "ref": "r"}), "benchmarks[0].test_data_ref.git.url", "http_url"),
    (
        some_data(git={"url": "https://10.0.0.1", "ref": "r"}),
        "benchmarks[0].test_data_ref.git.url",
        "git_clone_url",
    ),
    (
        some_data(git={"url": "https://h.com", "ref": "r", "secret_ref": "A"}),
        "benchmarks[0].test_data_ref.git.secret_ref",
        "rfc1123_dns_label",
    ),
]


@pytest.mark.parametrize(("document", "path", "rule"), JOB_RULES)
def test_a_broken_rule_of_a_job_is_named_with_its_path(
    document: dict[str, Any], path: str, rule: str
) -> None:
    assert complaint(document).splitlines()[0] == failed(f"EvaluationJobConfig.{path}", rule)


def test_all_broken_rules_are_reported_at_once() -> None:
    document = a_job(name="", tags=["|"], benchmarks=[{}], model={"url": "x"})
    assert complaint(document).splitlines() == [
        failed("EvaluationJobConfig.name", "required"),
        failed("EvaluationJobConfig.tags[0]", "tagname"),
        failed("EvaluationJobConfig.model.url", "url"),
        failed("EvaluationJobConfig.model.name", "required"),
        failed("EvaluationJobConfig.benchmarks[0].Ref.id", "required"),
        failed("EvaluationJobConfig.benchmarks[0].provider_id", "required"),
    ]


S3 = {"bucket": "b", "key": "k", "secret_ref": "s"}
HF = {"repo_id": "o/d"}
EXCLUSIVE = "hardware_config: hardware_profile_name cannot be combined with queue, cpu, memory, or gpu"


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (some_data(), "test_data_ref: one of s3, pvc, git, or hf must be set"),
        (some_data(type="data_set"), "test_data_ref: one of s3, pvc, git, or hf must be set"),
        (some_data(s3=S3, hf=HF), "test_data_ref: exactly one of s3, pvc, git, or hf must be set"),
        (some_data(s3={}, git={}), "test_data_ref: exactly one of s3, pvc, git, or hf must be set"),
        (some_data(hf=HF, type="x"), "type must be one of: data_set, pre_recorded_data"),
        (
            some_data(git={"url": "http://h.com", "ref": "r", "secret_ref": "s"}),
            "git url with credentials must use https scheme",
        ),
        (a_job(queue={"kind": "x", "name": "q"}), "kind must be one of: kueue"),
        (a_benchmark(hardware_config={"hardware_profile_name": "p", "queue": {"name": "q"}}), EXCLUSIVE),
        (a_job(hardware_config={"hardware_profile_name": "p", "cpu": {}}), EXCLUSIVE),
        (a_job(hardware_config={"hardware_profile_name": "p", "memory": {"limit": "1Gi"}}), EXCLUSIVE),
        (a_job(hardware_config={"hardware_profile_name": "p", "gpu": {"count": 1}}), EXCLUSIVE),
    ],
)
def test_some_rules_have_a_sentence_of_their_own(document: dict[str, Any], text: str) -> None:
    assert complaint(document) == text


def test_the_short_sentence_of_a_first_failure_stands_alone() -> None:
    document = some_data() | {"queue": {}}
    assert complaint(document) == "test_data_ref: one of s3, pvc, git, or hf must be set"


def test_a_short_sentence_that_is_not_first_is_an_ordinary_line() -> None:
    config = {"hardware_profile_name": "p", "cpu": {}}
    assert complaint(some_data(hf=HF, s3={}) | {"name": "", "hardware_config": config}).splitlines() == [
        failed("EvaluationJobConfig.name", "required"),
        failed("EvaluationJobConfig.benchmarks[0].test_data_ref.s3", "excluded_with"),
        failed("EvaluationJobConfig.benchmarks[0].test_data_ref.hf", "excluded_with"),
        failed("EvaluationJobConfig.hardware_config.hardware_profile_name", "hardware_config_exclusive"),
    ]
    assert failed("EvaluationJobConfig.benchmarks[0].test_data_ref.pvc", "required_without_all") in complaint(
        some_data() | {"name": ""}
    )


def test_a_clone_url_that_is_none_is_not_also_unsafe() -> None:
    for url, rule in (("", "required"), ("git@h.com:x", "http_url")):
        document = some_data(git={"url": url, "ref": "r", "secret_ref": "s"})
        assert complaint(document) == failed("EvaluationJobConfig.benchmarks[0].test_data_ref.git.url", rule)


def test_what_is_below_a_broken_rule_is_not_looked_at() -> None:
    experiment = {"name": "e", "tags": [{}] * 21}
    assert complaint(a_job(experiment=experiment)) == failed("EvaluationJobConfig.experiment.tags", "max")


@pytest.mark.parametrize(
    "document",
    [
        a_job(name=" "),
        a_job(name="x" * 10_000),
        a_job(tags=["a", "a", "ä" * 128]),
        a_job(pass_criteria={"threshold": 0}),
        a_job(pass_criteria={"threshold": -1}),
        a_job(model={"name": "m"}),
        a_job(model={"name": "m", "url": "", "card_url": "no url at all"}),
        a_job(benchmarks=[A_BENCHMARK, A_BENCHMARK]),
        a_job(benchmarks=[], collection={"id": "c"}),
        a_benchmark(weight=0),
        a_benchmark(weight=1e39),
        a_benchmark(parameters={"n": None, "e": "", "NaN": "NaN"}),
        a_benchmark(url="ignored"),
        a_benchmark(hardware_config={}),
        a_benchmark(hardware_config={"cpu": {"request": "zz"}, "gpu": {"count": -1}}),
        a_job(hardware_config={"hardware_profile_name": "small"}),
        a_job(queue={"name": "q"}),
        a_job(exports={}),
        a_job(custom={}),
        a_job(experiment={"name": "e", "tags": [{"key": "k" * 250, "value": "v" * 5000}] * 20}),
        some_data(s3=S3, type="pre_recorded_data"),
        some_data(pvc={"claim_name": "x" * 63, "sub_path": "../.."}),
        some_data(hf={"repo_id": "anything", "revision": "r"}),
        some_data(git={"url": "http://h.com/x", "ref": "r"}),
        some_data(git={"url": "HTTPS://h.com/x", "ref": "r", "secret_ref": "s"}),
        some_data(hf=HF, resolved_sha="abcdef1"),
    ],
)
def test_a_job_is_accepted(document: dict[str, Any]) -> None:
    validate(decode(json.dumps(document).encode(), JobRequest), "EvaluationJobConfig")


EVENT_RULES: list[tuple[dict[str, Any], str, str]] = [
    (an_event(provider_id=""), "provider_id", "required"),
    (an_event(id=""), "id", "required"),
    (an_event(status=""), "status", "required"),
    (an_event(error_message={}), "error_message.message", "required"),
    (an_event(warning_message={"message": "m"}), "warning_message.message_code", "required"),
    (an_event(started_at="yesterday"), "started_at", "datetime"),
    (an_event(completed_at="2026-01-12T10:45:32"), "completed_at", "datetime"),
    (an_event(metrics={"a": 1}, metrics_schema=[{"type": "numeric"}]), "metrics_schema[0].name", "required"),
    (an_event(metrics={"a": 1}, metrics_schema=[{"name": "a"}]), "metrics_schema[0].type", "required"),
    (
        an_event(metrics={"a": 1}, metrics_schema=[{"name": n, "type": "numeric"} for n in "ab"]),
        "metrics_schema[1].name",
        "metrics_schema_name_not_in_metrics",
    ),
    (
        an_event(metrics={"a": 1}, metrics_schema=[{"name": "a", "type": "numeric"}] * 2),
        "metrics_schema",
        "metrics_schema_duplicate_name",
    ),
]


@pytest.mark.parametrize(("document", "path", "rule"), EVENT_RULES)
def test_a_broken_rule_of_an_event_is_named_with_its_path(
    document: dict[str, Any], path: str, rule: str
) -> None:
    first = complaint(document, StatusEvent).splitlines()[0]
    assert first == failed(f"StatusEvent.benchmark_status_event.{path}", rule)


def test_an_event_needs_its_envelope() -> None:
    assert complaint({}, StatusEvent) == failed("StatusEvent.benchmark_status_event", "required")


@pytest.mark.parametrize(
    ("document", "text"),
    [
        (an_event(status="cancelled"), "status must be one of: pending, running, completed, failed"),
        (an_event(status="Running"), "status must be one of: pending, running, completed, failed"),
        (
            an_event(phase="x"),
            (
                "phase must be one of: initializing, loading_data, running_evaluation, post_processing, "
                "persisting_artifacts, completed"
            ),
        ),
        (
            an_event(metrics={"a": 1}, metrics_schema=[{"name": "a", "type": "x"}]),
            "type must be one of: numeric, categorical, array_ordered, array_unordered, time_series",
        ),
    ],
)
def test_an_unknown_choice_in_an_event_lists_the_known_ones(document: dict[str, Any], text: str) -> None:
    assert complaint(document, StatusEvent) == text


COLLECTION_RULES: list[tuple[dict[str, Any], str, str]] = [
    (a_collection(name=""), "name", "required"),
    (a_collection(category=""), "category", "required"),
    (a_collection(category="x" * 129), "category", "max"),
    (a_collection(description="x" * 1025), "description", "max"),
    (a_collection(tags=["a|b"]), "tags[0]", "tagname"),
    (a_collection(benchmarks=[]), "benchmarks", "required"),
    (a_collection(benchmarks=[{}]), "benchmarks[0].Ref.id", "required"),
    (a_collection(pass_criteria={}), "pass_criteria.threshold", "required"),
    (a_collection(curation_order=-1), "curation_order", "min"),
    (a_collection(agent={"summary": "x" * 201}), "agent.summary", "max"),
]


@pytest.mark.parametrize(("document", "path", "rule"), COLLECTION_RULES)
def test_a_broken_rule_of_a_collection_is_named_with_its_path(
    document: dict[str, Any], path: str, rule: str
) -> None:
    first = complaint(document, CollectionConfig).splitlines()[0]
    assert first == failed(f"CollectionConfig.{path}", rule)


@pytest.mark.parametrize(
    ("document", "path", "rule"),
    [
        ({"name": ""}, "name", "required"),
        ({"name": "p", "benchmarks": [{"name": "x"}]}, "benchmarks[0].id", "required"),
        (
            {"name": "p", "benchmarks": [{"id": "b", "primary_score": {}}]},
            "benchmarks[0].primary_score.metric",
            "required",
        ),
        (
            {"name": "p", "benchmarks": [{"id": "b", "description": "x" * 1025}]},
            "benchmarks[0].description",
            "max",
        ),
        (
            {"name": "p", "benchmarks": [{"id": "b", "agent": {"score_ranges": [{"range": "0-1"}]}}]},
            "benchmarks[0].agent.score_ranges[0].meaning",
            "required",
        ),
    ],
)
def test_a_broken_rule_of_a_provider_is_named_with_its_path(
    document: dict[str, Any], path: str, rule: str
) -> None:
    assert complaint(document, ProviderConfig).splitlines()[0] == failed(f"ProviderConfig.{path}", rule)


# --- exports --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exports", "others"),
    [
        ({}, {}),
        ({"oci": None, "shelf": None}, {}),
        ({"shelf": {"Label": None}, "n": 5, "list": [1]}, {"shelf": {"Label": None}, "n": 5, "list": [1]}),
        ({"others": 5, "*": {"a": 1}}, {"others": 5, "*": {"a": 1}}),
        ({"*": 5}, {"*": 5}),
        ({"OCI": {"coordinates": {"oci_host": "h", "oci_repository": "r"}}, "Shelf": {}}, {"Shelf": {}}),
    ],
)
def test_requests_of_other_exporters_are_kept_as_they_came(exports: dict[str, Any], others: Any) -> None:
    decoded = decode_job(json.dumps(a_job(exports=exports)).encode()).exports
    assert decoded is not None
    assert decoded.others == others
    assert (decoded.oci is None) == ("OCI" not in exports)


def test_of_several_exports_the_last_counts() -> None:
    exports = '"exports":{"a":1},"Exports":{"b":2},"EXPORTS":null'
    decoded = decode_job(f'{{"name":"j",{exports}}}'.encode()).exports
    assert decoded is not None
    assert decoded.others == {"b": 2}


def test_a_job_without_exports_has_none() -> None:
    assert decode_job(json.dumps(a_job(exports=None)).encode()).exports is None


# --- JSON -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"NAME":"j","Model":{"URL":"http://m","Name":"m"},"Benchmarks":[{"ID":"b","Provider_ID":"p"}]}',
        b'{"name":"old","name":"j","model":{"url":"http://m","name":"m"},"benchmarks":[{"id":"b","provider_id":"p"}]}',
        b'{"name":"old","NAME":"j","model":{"url":"http://m","name":"m"},"benchmarks":[{"id":"b","provider_id":"p"}]}',
        (
            b'{"name":"j","tags":null,"queue":null,"exports":null,"custom":null,"description":null,'
            b'"model":{"url":"http://m","name":"m","auth":null,"parameters":null,"card_url":null},'
            b'"benchmarks":[{"id":"b","provider_id":"p","weight":null,"parameters":null,"primary_score":null}]}'
        ),
        (
            b'{"name":"j","nope":{"deep":[1]},"model":{"url":"http://m","name":"m","x":1},'
            b'"benchmarks":[{"id":"b","provider_id":"p","url":"u"}]}'
        ),
        b' \n{"name":"j","model":{"url":"http://m","name":"m"},"benchmarks":[{"id":"b","provider_id":"p"}]}\r\n\t ',
    ],
)
def test_leniently_spelled_jobs_are_one_and_the_same(body: bytes) -> None:
    assert decode(body, JobRequest) == JobRequest(
        name="j",
        model=Model(url="http://m", name="m"),
        benchmarks=(BenchmarkRef(id="b", provider_id="p"),),
    )


def test_free_form_objects_come_through_untouched() -> None:
    free = {"Key": None, "nested": {"NULL": None, "list": [None, {"A": ""}]}, "Name": 1}
    decoded = decode(json.dumps(a_benchmark(parameters=free) | {"custom": free}).encode(), JobRequest)
    assert decoded.custom == free
    assert decoded.benchmarks[0].parameters == free


def test_a_null_in_a_list_of_objects_is_an_empty_object() -> None:
    assert complaint(a_job(benchmarks=[None])).splitlines() == [
        failed("EvaluationJobConfig.benchmarks[0].Ref.id", "required"),
        failed("EvaluationJobConfig.benchmarks[0].provider_id", "required"),
    ]


def test_a_null_body_is_an_empty_object() -> None:
    assert decode(b" null ", JobRequest) == JobRequest()


def test_a_null_name_is_a_missing_name() -> None:
    assert complaint(a_job(name=None)) == failed("EvaluationJobConfig.name", "required")


@pytest.mark.parametrize("body", [b"", b" \n\t", b'{"name":', b'{"name":"j"', b'{"name":"j', b"{", b"["])
def test_a_body_that_ends_too_early_says_so(body: bytes) -> None:
    error = refusal(body)
    assert error.code == "invalid_json_request"
    assert "'unexpected end of JSON input'" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b"{} x",
        b"{}{}",
        b"{}]",
        b"[]",
        b'"text"',
        b"1",
        b"true",
        b"{'name':1}",
        b'{"name":"j",}',
        b"\xef\xbb\xbf{}",
        b'{"name":"\xff"}',
        b'{"custom":{"a":"\xc3"}}',
        b'{"name":"\\ud800"}',
        b'{"name":1}',
        b'{"tags":"a"}',
        b'{"tags":[1]}',
        b'{"model":[]}',
        b'{"custom":[]}',
        b'{"benchmarks":{}}',
        b'{"benchmarks":[1]}',
        b'{"benchmarks":[{"weight":"1"}]}',
        b'{"benchmarks":[{"weight":true}]}',
        b'{"benchmarks":[{"parameters":[]}]}',
        b'{"collection":{"collection_updated_at":"yesterday"}}',
    ],
)
def test_what_is_not_the_json_that_was_asked_for_is_refused(body: bytes) -> None:
    assert refusal(body).code == "invalid_json_request"


@pytest.mark.parametrize(
    "number", [b"NaN", b"Infinity", b"-Infinity", b"nan", b"1e400", b"-1e400", b"0x1", b"01"]
)
@pytest.mark.parametrize("template", [b'{"custom":{"a":[%s]}}', b'{"benchmarks":[{"weight":%s}]}'])
def test_numbers_that_are_not_json_are_refused(number: bytes, template: bytes) -> None:
    assert refusal(template % number).code == "invalid_json_request"


def test_large_numbers_are_kept_exactly() -> None:
    free = {"int": 12345678901234567890, "float": 1e308, "small": 5e-324, "one": 1.0}
    assert decode(json.dumps({"custom": free}).encode(), JobRequest).custom == free


# --- hostile bodies -------------------------------------------------------------------------------------------


def nested(levels: int) -> bytes:
    """A job whose ``custom`` makes it ``levels`` deep."""
    return b'{"custom":{"a":' + b"[" * (levels - 2) + b"]" * (levels - 2) + b"}}"


def test_a_deep_document_is_accepted_up_to_the_limit() -> None:
    assert decode(nested(MAX_DEPTH), JobRequest).custom is not None


@pytest.mark.parametrize(
    "body",
    [nested(MAX_DEPTH + 1), nested(900), nested(100_000), b"[" * 1_000_000, b'{"a":' * 100_000],
    ids=["one too many", "just decodable", "far too deep", "open lists", "open objects"],
)
def test_a_document_that_is_too_deep_is_refused(body: bytes) -> None:
    error = refusal(body)
    assert error.code == "invalid_json_request"
    assert "nested deeper than 200 levels" in error.message


@pytest.mark.parametrize(
    "text", ["[" * 1000, '"[' * 1000, '\\"{' * 1000, "\\", "\\\\", "]" * 1000], ids=range(6)
)
def test_brackets_within_texts_are_no_depth(text: str) -> None:
    custom = {"a": text, "lists": [[1]] * 300}
    assert decode(json.dumps({"custom": custom}).encode(), JobRequest).custom == custom


@pytest.mark.parametrize("text", ["", "[", "]", "][", '"[', "\\"], ids=repr)
def test_texts_beside_brackets_are_no_depth(text: str) -> None:
    texts = json.dumps([text, "", text] * 300).encode()[1:-1]
    deep = nested(MAX_DEPTH).replace(b"[]", b"[" + texts + b"]")
    assert decode(deep, JobRequest).custom is not None
    error = refusal(deep.replace(b'{"a":', b'{"a":[' + texts + b",").replace(b"}}", b"]}}"))
    assert "nested deeper than 200 levels" in error.message


@pytest.mark.parametrize(
    "body",
    [
        b'{"name":"' + b"A" * 2_000_000 + b'"}',
        b'{"name":"' + b'\\"A' * 700_000 + b'"}',
        b'{"name":"' + b"a" * 2_000_000,
        b"[]," * 500 + b'"' + b'\\"' * 1_000_000,
        b"[]," * 500 + b'"' * 2_000_000,
        b'{"A"' + b" " * 2_000_000,
    ],
    ids=["capitals", "escaped quotes", "cut text", "cut escapes", "quotes", "blanks"],
)
def test_no_body_takes_more_than_linear_time(body: bytes) -> None:
    started = time.process_time()
    try:
        decode(body, JobRequest)
    except ApiError as error:
        assert error.code == "invalid_json_request"  # noqa: PT017
    assert time.process_time() - started < 5  # quadratic takes hours


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
keys = st.sampled_from(["name", "NAME", "model", "Benchmarks", "benchmarks", "id", "tags", "queue", "custom"])
documents = st.dictionaries(keys, json_values | st.dictionaries(keys, json_values), max_size=4)


@given(st.binary(max_size=60) | documents.map(lambda document: json.dumps(document).encode()))
def test_any_body_is_either_a_job_or_a_client_error(body: bytes) -> None:
    try:
        validate(decode(body, JobRequest), "EvaluationJobConfig")
    except ApiError as error:
        assert error.status == 400  # noqa: PT017


# --- YAML -----------------------------------------------------------------------------------------------------


def test_a_parsed_document_is_read_as_leniently_as_json() -> None:
    config = convert(
        {"Name": "c", "category": "x", "tags": None, "benchmarks": [A_BENCHMARK], 1: 2}, CollectionConfig
    )
    assert config == CollectionConfig(
        name="c", category="x", benchmarks=(BenchmarkRef(id="b", provider_id="p"),)
    )


def test_a_parsed_document_of_the_wrong_type_names_the_path() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.name"):
        convert({"name": 1}, CollectionConfig)


def test_a_weight_that_is_no_number_in_yaml_is_refused() -> None:
    config = convert(a_collection(benchmarks=[A_BENCHMARK | {"weight": float("nan")}]), CollectionConfig)
    with pytest.raises(ApiError, match=r"benchmarks\[0\].weight.*'min'"):
        validate(config, "CollectionConfig")
