"""Keys and values of the configuration: accepted forms, and messages about wrong ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from evalhub_server.errors import SettingsError
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import CORE_SECTIONS, NO_EFFECT, Settings, key_paths, load_settings


def load(folder: Path, text: str, **environ: str) -> Settings:
    (folder / "config.yaml").write_text(text, "utf-8")
    return load_settings(
        local=True, configdir=folder, environ=environ, plugin_sections=load_plugins().sections()
    )


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("service: {port: '9125'}", "service.port", 9125),
        ("service: {port: 9125.0}", "service.port", 9125),
        ("SERVICE: {Port: 9125}", "service.port", 9125),
        ("service: {port: null}", "service.port", 8080),
        ("service:", "service.port", 8080),
        ("service: {host: 10}", "service.host", "10"),
        ("service: {read_timeout: 1m30s}", "service.read_timeout", 90),
        ("service: {read_timeout: 2000000000}", "service.read_timeout", 2),
        ("service: {read_timeout: '.5s'}", "service.read_timeout", 0.5),
        ("otel: {enabled: 'T', exporter_type: stdout, service_version: 1.5}", "otel.service_version", "1.5"),
        ("otel: {enabled: 'T', exporter_type: stdout}", "otel.enabled", True),
        ("otel: {enabled: 0}", "otel.enabled", False),
        ("otel: {service_name: true}", "otel.service_name", "1"),
        ("otel: {sampling_ratio: '0.5'}", "otel.sampling_ratio", 0.5),
        (
            "otel: {Additional_Attributes: {Team.Name: A, team: b}}",
            "otel.additional_attributes",
            {"Team.Name": "A", "team": "b"},
        ),
        ("plugins: {trackers: 'a, b'}", "plugins.trackers", ("a", "b")),
        ("plugins: {trackers: [a, b]}", "plugins.trackers", ("a", "b")),
        ("service: {allowed_hosts: 'a.example, [::1]'}", "service.allowed_hosts", ("a.example", "[::1]")),
        ("sidecar: {eval_hub: {http_timeout: 5s}}", "sidecar.eval_hub.http_timeout", 5),
        (
            "sidecar: {sidecar_container: {resources: {limits: {CPU: 2}}}}",
            "sidecar.sidecar_container.resources.limits.cpu",
            "2",
        ),
    ],
)
def test_every_unambiguous_form_of_a_value_is_accepted(tmp_path: Path, text: str, field: str, value: object):
    found: Any = load(tmp_path, text)
    for name in field.split("."):
        found = getattr(found, name)
    assert found == value
    assert type(found) is type(value) or isinstance(found, float)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "\nservice:\n  port: abc",
            r"config\.yaml:3: service\.port: expected `int`, got `str`; write a whole",
        ),
        ("service: {port: 70000}", r"config\.yaml:1: service\.port: 70000 is not a port; choose"),
        ("prometheus: {port: -1}", r"prometheus\.port: -1 is not a port"),
        ("service: {idle_timeout: soon}", r"service\.idle_timeout: 'soon' is not a duration; write"),
        ("service: {read_timeout: -1s}", r"service\.read_timeout: '-1s' is not a duration"),
        ("service: {max_header_bytes: -1}", r"service\.max_header_bytes: -1 is below 0"),
        ("service: {max_request_body_bytes: -2}", r"service\.max_request_body_bytes: .*-1 for no limit"),
        ("service: {max_inflight_body_bytes: -2}", r"service\.max_inflight_body_bytes: .*-1 for no limit"),
        (
            "service: {root_path: evalhub}",
            r"service\.root_path: 'evalhub' is not a path; write it with a slash",
        ),
        ("service: {root_path: /a/../b}", r"service\.root_path: '/a/\.\./b' is not a path"),
        (
            "service:\n  trusted_proxies:\n    - 10.0.0.0/8\n    - proxy",
            r"config\.yaml:4: service\.trusted_proxies\[1\]: 'proxy' is neither an address nor a network",
        ),
        (
            "service:\n  allowed_hosts:\n    - a.example\n    - '*.example'",
            r"config\.yaml:4: service\.allowed_hosts\[1\]: '\*\.example' is not a host name .* such as evalhub",
        ),
        (
            "service: {allowed_origins: '*'}",
            r"config\.yaml:1: service\.allowed_origins\[0\]: '\*' is not an origin; .* There is no wildcard",
        ),
        (
            "service:\n  auth_token_file: /no/token",
            r"config\.yaml:2: service\.auth_token_file: /no/token cannot be read: .* openssl rand -hex 32 > /no/token",
        ),
        ("service: 5", r"config\.yaml:1: service: expected `object`, got `int`; write keys"),
        ("plugins: {trackers: {a: 1}}", r"plugins\.trackers: expected `array`, got `object`; write a list"),
        ("otel: {enabled: maybe}", r"otel\.enabled: expected `bool`, got `str`; write true or false"),
        (
            "otel: {enabled: true, exporter_type: zipkin}",
            r"config\.yaml:1: otel\.exporter_type: 'zipkin' is not a type of exporter; .* otlp-grpc, otlp-http or stdout",
        ),
        ("otel: {enabled: true}", r"otel\.exporter_type: '' is not a type of exporter"),
        ("otel: {exporter_type: zipkin, sampling_ratio: 7}", None),
        ("otel: {enabled: true, exporter_type: otlp-grpc}", r"otel\.exporter_endpoint: '' is not host:port"),
        (
            "otel: {enabled: true, exporter_type: otlp-http, exporter_endpoint: 'http://c:4318'}",
            r"otel\.exporter_endpoint: 'http://c:4318' is not host:port of a collector, such as localhost:4317",
        ),
        ("otel: {enabled: true, exporter_type: otlp-http, exporter_endpoint: 'a:1/v1'}", r"is not host:port"),
        ("otel: {enabled: true, exporter_type: otlp-http, exporter_endpoint: '[::1]:4318'}", None),
        (
            "otel: {enabled: true, exporter_type: stdout, sampling_ratio: 2}",
            r"otel\.sampling_ratio: 2 is not a ratio",
        ),
        (
            "otel: {enabled: true, exporter_type: stdout, tracer_batch_interval: 0s}",
            r"otel\.tracer_batch_interval: must be above 0",
        ),
        ("env_mappings: [1]", r"config\.yaml:1: env_mappings: expected a map"),
        ("env_mappings: {A: 1}", r"config\.yaml:1: env_mappings\.A: expected a dotted key"),
        ("mlflow: {http_timeout: 30}\n", None),
        (
            "sidecar: {base_url: 'http://localhost'}",
            r"config\.yaml:1: sidecar\.base_url: must be http or https",
        ),
        ("sidecar: {base_url: 'http://localhost:x'}", r"sidecar\.base_url"),
        ("sidecar: {base_url: 'localhost:8082'}", r"sidecar\.base_url"),
        ("sidecar: {base_url: 'http://localhost:8082', local_mode: true}", None),
    ],
)
def test_a_wrong_value_is_refused_with_file_line_key_and_fix(
    tmp_path: Path, text: str, complaint: str | None
):
    if complaint is None:
        load(tmp_path, text)
        return
    with pytest.raises(SettingsError, match=complaint):
        load(tmp_path, text)


def test_a_wrong_value_of_a_variable_names_the_variable(tmp_path: Path):
    with pytest.raises(SettingsError, match=r"^environment variable PORT: service\.port: expected `int`"):
        load(tmp_path, "service: {port: 1}", PORT="abc")


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        ("service:\n  host: a\n  prot: 1", "3: service.prot: unknown key (did you mean port?), ignored"),
        ("supervisor: {lingr: 2s}", "1: supervisor.lingr: unknown key (did you mean linger?), ignored"),
        ("\nservce: {port: 1}", "2: servce: unknown section (did you mean service?), ignored"),
        (
            "local: {max_paralel: 1}",
            "1: local.max_paralel: unknown key (did you mean max_parallel?), ignored",
        ),
        ("database: {urll: x}", "1: database.urll: unknown key (did you mean url?), ignored"),
        (
            "mlflow: {tracking_url: x}",
            "1: mlflow.tracking_url: unknown key (did you mean tracking_uri?), ignored",
        ),
        (
            "sidecar:\n  eval_hub:\n    base_urll: x",
            "3: sidecar.eval_hub.base_urll: unknown key (did you mean base_url?), ignored",
        ),
        ("secrets: {directory: x}", "1: secrets.directory: unknown key (known: dir, mappings), ignored"),
    ],
)
def test_an_unknown_key_is_a_warning_with_line_and_nearest_key(tmp_path: Path, text: str, warning: str):
    assert [str(found) for found in load(tmp_path, text).warnings] == [
        f"{tmp_path / 'config.yaml'}:{warning}"
    ]


def test_an_unknown_key_of_a_mapping_names_the_variable(tmp_path: Path):
    warnings = load(tmp_path, "env_mappings: {FOO: service.prot}", FOO="1").warnings
    assert str(warnings[0]).startswith("environment variable FOO: service.prot: unknown key")


def test_a_metrics_port_that_nothing_listens_on_is_a_warning(tmp_path: Path):
    (warning,) = load(tmp_path, "", METRICS_PORT="81").warnings
    assert "METRICS_PORT: prometheus.port: has no effect without prometheus.enabled: true" in str(warning)
    assert load(tmp_path, "prometheus: {enabled: false, port: 81}").warnings == ()


def test_metrics_listen_on_all_addresses_but_in_local_mode_on_the_apis(tmp_path: Path):
    settings = load(tmp_path, "service: {host: 127.0.0.2}")
    hosts = [replace(settings, local=local).metrics_host for local in (False, True)]
    assert hosts == ["0.0.0.0", "127.0.0.2"]
    named = load(tmp_path, "prometheus: {enabled: true}", METRICS_HOST="127.0.0.3")
    assert named.metrics_host == "127.0.0.3"


EVERY_KEY_OF_THE_RELEASED_SERVER = """
service: {port: 0, host: a, termination_file: a, eval_init_image: a, local_mode: true, read_timeout: 1s,
  write_timeout: 1s, read_header_timeout: 1s, idle_timeout: 1s, max_header_bytes: 1, max_request_body_bytes: 1,
  max_log_response_bytes: 1, log_stream_timeout: 1s}
database: {driver: sqlite, url: a, max_open_conns: 1, max_idle_conns: 1, conn_max_lifetime: 1s}
mlflow: {tracking_uri: a, http_timeout: 1s, ca_cert_path: a, token: a, token_path: a, workspace: a}
prometheus: {enabled: true, port: 1, host: a}
otel: {enabled: true, exporter_type: stdout, exporter_endpoint: a, exporter_insecure: true, sampling_ratio: 1,
  enable_tracing: true, enable_metrics: true, enable_logs: true, enable_job_container_logs: true, tracer_timeout: 1s,
  tracer_batch_interval: 1s, metric_export_interval: 1s, service_name: a, service_version: a,
  additional_attributes: {a: b}, enable_ecs_resource_detection: true, disable_redirect_otel_logs: true,
  disable_database_otel_scan: true}
sidecar:
  base_url: http://a:1
  local_mode: true
  local: {job_cache_sweep_interval: 1s, job_cache_entry_ttl: 1s}
  eval_hub: {base_url: a, http_timeout: 1s, ca_cert_path: a, insecure_skip_verify: true, token: a,
    token_cache_timeout: 1s}
  mlflow: {tracking_uri: a, token_path: a, workspace: a, token_cache_timeout: 1s, http_timeout: 1s, ca_cert_path: a}
  oci: {ca_cert_path: a, http_timeout: 1s}
  model: {url: a, auth_secret_mount_path: a, http_timeout: 1s, insecure_skip_verify: true}
  sidecar_container: {image: a, resources: {requests: {cpu: 1, memory: 1}, limits: {cpu: 1, memory: 1}}}
  init_container: {is_git_job: true}
  otel: {enabled: true}
secrets: {dir: /nowhere, mappings: {"a:optional": database.url}}
env_mappings: {A: service.port}
"""


def test_every_key_of_the_released_server_is_known(tmp_path: Path):
    settings = load(tmp_path, EVERY_KEY_OF_THE_RELEASED_SERVER)
    assert settings.warnings == ()
    assert settings.sidecar.sidecar_container.resources.limits.cpu == "1"


def test_the_list_of_keys_without_effect_names_existing_keys():
    keys = {path for name, type_ in CORE_SECTIONS.items() for path in key_paths(type_, name)}
    for types in load_plugins().sections().items():
        keys |= {path for type_ in types[1] for path in key_paths(type_, types[0])}
    for key in NO_EFFECT:
        if not key.startswith("mlflow."):  # a plugin's, which is not here yet
            assert any(path == key or path.startswith(key.removesuffix("*")) for path in keys), key
