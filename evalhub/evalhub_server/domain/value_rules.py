"""Checks of the rules in :mod:`evalhub_server.models.rules`.

A check returns True, or the name of a more specific rule, if the value violates the rule.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, cast

import msgspec

from evalhub_server.domain.statistics.columns import MAX_ABS_SCORE
from evalhub_server.models.common import GitRef, HardwareConfig, Json, TestDataRef
from evalhub_server.models.event import BenchmarkEvent
from evalhub_server.models.job import JobRequest
from evalhub_server.models.provider import MetricProperties, ProviderBenchmark, ProviderConfig
from evalhub_server.models.rules import Rule
from evalhub_server.models.runtime import ENVIRONMENT, PULL_POLICY

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.\-]*):(.*)", re.DOTALL)
_BAD_URL_CHARACTER = re.compile(r"[\x00-\x20\x7f]")
_AUTHORITY = re.compile(
    r"(?:[\w.~!$&'()*+,;=%:@-]*@)?"
    r"(?:\[[0-9A-Fa-f:.]+(?:%25[^\[\]]+)?\]|[^\[\]:%@\\|{}^`]*)"
    r"(?::[0-9]*)?",
    re.ASCII,
)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_DNS_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
# Hosts that a clone inside a cluster must never reach. The init program checks addresses again after name resolution.
_BLOCKED_HOSTS = {"localhost", "localhost.localdomain", "metadata", "metadata.google.internal"}
_BLOCKED_SUFFIXES = (".cluster.local", ".svc", ".local")
TEST_DATA_SOURCES = ("s3", "pvc", "git", "hf")


def _empty(value: Any) -> bool:
    return not value and (value is None or value is msgspec.UNSET or value in ("", (), {}))


def _invalid_url(value: str) -> bool:
    match = _SCHEME.fullmatch(value)
    if match is None or _BAD_URL_CHARACTER.search(value):
        return True
    scheme, rest = match[1].lower(), match[2]
    rest, _, fragment = rest.partition("#")
    if _BAD_ESCAPE.search(fragment) or (rest.startswith("//") and _malformed(rest)):
        return True
    if scheme == "file":
        return len(rest.removeprefix("//")) < 2
    if rest.startswith("//"):
        return not (_host(rest) or fragment)
    opaque = rest.partition("?")[0]
    return not ((opaque and not opaque.startswith("/")) or fragment)


def _malformed(rest: str) -> bool:
    """Whether host, port or an escape in ``//user@host:port/path`` is invalid."""
    authority, path = _split(rest)
    return not _AUTHORITY.fullmatch(authority) or bool(_BAD_ESCAPE.search(path))


def _split(rest: str) -> tuple[str, str]:
    """(authority, path) of ``//authority/path?query``."""
    authority, slash, path = rest.partition("?")[0][2:].partition("/")
    return authority, slash + path


def _host(rest: str) -> str:
    """The host of ``//user@host:port/path`` in lower case, without brackets and port."""
    authority = _split(rest)[0].rpartition("@")[2]
    if authority.startswith("["):
        return authority[1:].partition("]")[0].lower()
    return authority.partition(":")[0].lower()


def _invalid_git_url(value: str) -> bool | str:
    match = _SCHEME.fullmatch(value)
    if match is None or match[1].lower() not in ("http", "https") or _BAD_URL_CHARACTER.search(value):
        return "http_url"
    rest = match[2].partition("#")[0]
    host = _host(rest).removesuffix(".") if rest.startswith("//") and not _malformed(rest) else ""
    if not host:
        return "http_url"
    if host in _BLOCKED_HOSTS or host.endswith(_BLOCKED_SUFFIXES):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return (
        address.is_loopback
        or address.is_private
        or address.is_link_local
        or address.is_unspecified
        or address.is_multicast
    )


def _invalid_timestamp(value: str) -> bool:
    if not _TIMESTAMP.fullmatch(value):
        return True
    try:
        datetime.fromisoformat(value.upper())
    except ValueError:
        return True
    return False


Check = Callable[[Any, Any], bool | str]


def _required(value: Any, _limit: Any) -> bool:
    return not value and _empty(value)


def _blank(value: str, _limit: Any) -> bool:
    return not value.strip()


def _invalid_tag(value: str, _limit: Any) -> bool:
    return not 1 <= len(value) <= 128 or "," in value or "|" in value


def _too_long(value: Any, limit: int) -> bool:
    return not _empty(value) and len(value) > limit


def _too_small(value: float, limit: float) -> bool:
    return not limit <= value < math.inf  # YAML, unlike JSON, can say .nan and .inf


def _not_allowed(value: Any, allowed: tuple[str, ...]) -> bool:
    return value not in allowed and not _empty(value)


def _invalid_dns_label(value: str) -> bool:
    return not _DNS_LABEL.fullmatch(value)


def _unless_empty(check: Callable[[str], bool | str]) -> Check:
    return lambda value, _limit: not _empty(value) and check(value)


CHECKS: dict[str, Check] = {
    "required": _required,
    "notblank": _blank,
    "tagname": _invalid_tag,
    "rfc1123_dns_label": _unless_empty(_invalid_dns_label),
    "url": _unless_empty(_invalid_url),
    "git_clone_url": _unless_empty(_invalid_git_url),
    "datetime": _unless_empty(_invalid_timestamp),
    "max": _too_long,
    "min": _too_small,
    "oneof": _not_allowed,
}


def _choice(field: str, allowed: tuple[str, ...]) -> str:
    return f"{field} must be one of: {', '.join(allowed)}"


def _sentence(text: str) -> Callable[[str, Any], str]:
    return lambda _field, _limit: text


SHORT_TEXTS: dict[str, Callable[[str, Any], str]] = {
    "oneof": _choice,
    "excluded_with": _sentence("test_data_ref: exactly one of s3, pvc, git, or hf must be set"),
    "required_without_all": _sentence("test_data_ref: one of s3, pvc, git, or hf must be set"),
    "git_http_with_secret": _sentence("git url with credentials must use https scheme"),
    "hardware_config_exclusive": _sentence(
        "hardware_config: hardware_profile_name cannot be combined with queue, cpu, memory, or gpu"
    ),
}
"""Rules whose failure, if it comes first, is reported alone and as a sentence."""

PHRASES: dict[str, str] = {
    "required": "is required",
    "notblank": "must not be blank",
    "max": "is too long; the maximum is {limit}",
    "min": "is too small; the minimum is {limit}",
    "tagname": "is not a valid tag; use 1 to 128 characters without ',' and '|'",
    "rfc1123_dns_label": "must consist of at most 63 lower-case letters, digits and '-', and begin and end with one of the former two",
    "url": "is not a valid URL",
    "http_url": "is not a valid http or https URL",
    "git_clone_url": "has a host that must not be cloned from",
    "datetime": "is not a date and time such as 2026-01-31T12:00:00Z",
    "oneof": "must be one of: {limit}",
    "benchmarks or collection": "must be empty in a job with a collection",
    "minimum one benchmark": "must contain a benchmark, or the job must have a collection",
    "metrics_schema_duplicate_name": "contains a name twice",
    "metric_listed_twice": "is listed twice",
    "metric_range": "must be two numbers, the smallest and the largest possible value, in this order",
    "metrics_schema_name_not_in_metrics": "is not among the metrics",
    "local_environment": "must be one of: {limit}",
    "environment_or_venv": "cannot be combined with runtime.local.environment",
    "venv_path": "must be the path of a virtual environment: absolute, or below ~/",
    "local_command": "is required with an environment or a venv",
    "variable_name": "must be the name of an environment variable",
    "value_or_value_from_env": "cannot be combined with value",
    "value_from_env_local": "works in runtime.local only",
}
"""What is wrong with a value, by rule. ``{limit}`` is the rule's limit."""

METRIC_LISTED_TWICE = Rule("metric_listed_twice", added=True)
METRIC_RANGE = Rule("metric_range", added=True)
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_Violations = Iterator[tuple[str, Rule]]


def _job(job: JobRequest) -> _Violations:
    wants_collection = job.collection is not None and bool(job.collection.id)
    if wants_collection and job.benchmarks:
        yield "benchmarks", Rule("benchmarks or collection")
    elif not wants_collection and not job.benchmarks:
        yield "benchmarks", Rule("minimum one benchmark")


def _test_data(ref: TestDataRef) -> _Violations:
    given = [name for name in TEST_DATA_SOURCES if getattr(ref, name) is not None]
    if len(given) > 1:
        yield from ((name, Rule("excluded_with")) for name in given)
    elif not given:
        yield from ((name, Rule("required_without_all")) for name in TEST_DATA_SOURCES)


def _git(ref: GitRef) -> _Violations:
    if ref.secret_ref and ref.url.lower().startswith("http:"):
        yield "url", Rule("git_http_with_secret")


def _hardware(config: HardwareConfig) -> _Violations:
    direct = (config.queue, config.cpu, config.memory, config.gpu)
    if config.hardware_profile_name and any(value is not None for value in direct):
        yield "hardware_profile_name", Rule("hardware_config_exclusive")


def _event(event: BenchmarkEvent) -> _Violations:
    if not event.metrics_schema:
        return
    names = [schema.name for schema in event.metrics_schema]
    if len(set(names)) < len(names):
        yield "metrics_schema", Rule("metrics_schema_duplicate_name")
    for index, name in enumerate(names):
        if name not in event.metrics:
            yield f"metrics_schema[{index}].name", Rule("metrics_schema_name_not_in_metrics")


def _provider(config: ProviderConfig) -> _Violations:
    policy = config.runtime.get("k8s", {}).get("image_pull_policy")
    if _not_allowed(policy, PULL_POLICY.limit):
        yield "runtime.k8s.image_pull_policy", PULL_POLICY
    for index, variable in _variables(config.runtime.get("k8s", {})):
        if "value_from_env" in variable:
            yield f"runtime.k8s.env[{index}].value_from_env", Rule("value_from_env_local", added=True)
    local = config.runtime.get("local", {})
    yield from (
        (f"runtime.local.{path}", Rule(name, limit, added=True)) for path, name, limit in _local(local)
    )


def _local(entry: Json) -> Iterator[tuple[str, str, Any]]:
    """(path, name of the rule, its limit) of each violation in ``runtime.local``; files are not converted to its model."""
    environment, venv = entry.get("environment"), entry.get("venv")
    if environment is not None and environment not in ENVIRONMENT.limit:
        yield "environment", "local_environment", ", ".join(ENVIRONMENT.limit)
    if venv is not None:
        if environment is not None:
            yield "venv", "environment_or_venv", None
        elif not isinstance(venv, str) or not venv.startswith(("/", "~/")) or "\0" in venv:
            yield "venv", "venv_path", None
    command = entry.get("command")
    if (environment is not None or venv is not None) and not (isinstance(command, str) and command.strip()):
        yield "command", "local_command", None
    for index, variable in _variables(entry):
        source = variable.get("value_from_env")
        if source is None:
            continue
        if not isinstance(source, str) or not _VARIABLE.fullmatch(source):
            yield f"env[{index}].value_from_env", "variable_name", None
        elif variable.get("value"):
            yield f"env[{index}].value_from_env", "value_or_value_from_env", None


def _variables(entry: Json) -> Iterator[tuple[int, Json]]:
    listed = entry.get("env")
    for index, variable in enumerate(cast("list[Any]", listed) if isinstance(listed, list) else []):
        if isinstance(variable, dict):
            yield index, cast("Json", variable)


def _benchmark(benchmark: ProviderBenchmark) -> _Violations:
    listed = () if benchmark.metric_properties is msgspec.UNSET else benchmark.metric_properties
    names = [each.metric for each in listed]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"metric_properties[{index}].metric", METRIC_LISTED_TWICE


def _metric(properties: MetricProperties) -> _Violations:
    if properties.range is not None:
        low, high = properties.range
        if not -MAX_ABS_SCORE <= low < high <= MAX_ABS_SCORE:  # not for nan, which YAML can say
            yield "range", METRIC_RANGE


STRUCT_CHECKS: Mapping[type[msgspec.Struct], Callable[[Any], _Violations]] = {
    JobRequest: _job,
    TestDataRef: _test_data,
    GitRef: _git,
    HardwareConfig: _hardware,
    BenchmarkEvent: _event,
    ProviderConfig: _provider,
    ProviderBenchmark: _benchmark,
    MetricProperties: _metric,
}
"""Rules about several fields of one object: checks that yield (path below the object, rule) for each violation."""
