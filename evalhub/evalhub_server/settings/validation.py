"""Validation of the core sections beyond their types."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from evalhub_common.urls import split_http_url
from evalhub_server.errors import SettingsError
from evalhub_server.plugins.sidecar import SidecarSettings
from evalhub_server.settings.auth_token import KEY, SCRAPE_KEY, read_token, token_path
from evalhub_server.settings.file_sections import MIB, RetentionSettings, SampleSettings
from evalhub_server.settings.hosts import allowed_host, allowed_origin
from evalhub_server.settings.path_prefix import proxy_network, root_path
from evalhub_server.settings.root_url import check_root_url
from evalhub_server.settings.s3 import sample_errors
from evalhub_server.settings.schema import FinalizerSettings, ServiceSettings
from evalhub_server.settings.telemetry_sections import OTLP, OtelSettings, PrometheusSettings


def section_rule_errors(
    service: ServiceSettings,
    prometheus: PrometheusSettings,
    sidecar: SidecarSettings,
    finalizer: FinalizerSettings,
    otel: OtelSettings,
    retention: RetentionSettings,
    samples: SampleSettings,
) -> Iterator[SettingsError]:
    """An error for each violated rule; its message begins with the key."""
    for key, port in (("service.port", service.port), ("prometheus.port", prometheus.port)):
        if not 0 <= port <= 65535:
            yield SettingsError(f"{key}: {port} is not a port; choose 1 to 65535, or 0 for a free one.")
    if service.max_header_bytes < 0:
        yield SettingsError(
            f"service.max_header_bytes: {service.max_header_bytes} is below 0; leave it out for 1 MiB."
        )
    for name in (
        "max_request_body_bytes",
        "max_inflight_body_bytes",
        "max_log_response_bytes",
        "max_benchmarks_per_job",
    ):
        value: int = getattr(service, name)
        if value < -1:
            yield SettingsError(f"service.{name}: {value} is below 0; write -1 for no limit.")
    yield from _entries("service.allowed_hosts", service.allowed_hosts, allowed_host)
    yield from _entries("service.allowed_origins", service.allowed_origins, allowed_origin)
    yield from _entries("service.trusted_proxies", service.trusted_proxies, proxy_network)
    for check, text in ((root_path, service.root_path), (check_root_url, service.root_url)):
        try:
            check(text)
        except SettingsError as error:
            yield error
    for name in ("max_parallel", "max_attempts"):
        if (value := getattr(finalizer, name)) < 1:
            yield SettingsError(f"finalizer.{name}: {value} is below 1, and nothing would be exported.")
    for name in ("keep_last_per_model_and_benchmark", "max_bytes", "log_max_bytes"):
        if (value := getattr(retention, name)) < 0:
            yield SettingsError(f"retention.{name}: {value} is below 0; write 0 for no limit.")
    if 0 < retention.log_max_bytes < MIB:
        yield SettingsError(
            f"retention.log_max_bytes: {retention.log_max_bytes} is below 1 MiB; write at least {MIB}, or 0 for no limit."
        )
    yield from sample_errors(samples)
    if sidecar.base_url and not _has_port(sidecar.base_url):
        yield SettingsError(
            "sidecar.base_url: must be http or https with a host and a port, such as http://localhost:8082."
        )
    if otel.enabled:
        yield from _telemetry_errors(otel)
    for key, token_file in ((KEY, service.auth_token_file), (SCRAPE_KEY, prometheus.auth_token_file)):
        if token_file:
            try:
                read_token(token_path(token_file), key)
            except SettingsError as error:
                yield error
    try:
        check_tls(service)
    except SettingsError as error:
        yield error


def _telemetry_errors(otel: OtelSettings) -> Iterator[SettingsError]:
    if otel.exporter_type not in (*OTLP, "stdout"):
        yield SettingsError(
            f"otel.exporter_type: {otel.exporter_type!r} is not a type of exporter; "
            "write otlp-grpc, otlp-http or stdout."
        )
    elif otel.exporter_type in OTLP and not _is_host_and_port(otel.exporter_endpoint):
        yield SettingsError(
            f"otel.exporter_endpoint: {otel.exporter_endpoint!r} is not host:port of a collector, such as "
            "localhost:4317 for otlp-grpc or localhost:4318 for otlp-http."
        )
    if not 0 <= otel.sampling_ratio <= 1:
        yield SettingsError(
            f"otel.sampling_ratio: {otel.sampling_ratio:g} is not a ratio; write a number from 0 (no traces) to 1 (all)."
        )
    for name in ("tracer_batch_interval", "metric_export_interval"):
        if getattr(otel, name) <= 0:
            yield SettingsError(f"otel.{name}: must be above 0, such as 5s.")


def _entries(
    key: str, entries: tuple[str, ...], read: Callable[[str, str], object]
) -> Iterator[SettingsError]:
    for index, entry in enumerate(entries):
        try:
            read(entry, f"{key}[{index}]")
        except SettingsError as error:
            yield error


def _is_host_and_port(text: str) -> bool:
    return _has_port(f"http://{text}") and not set(text) & set("/?#@ ")


def _has_port(url: str) -> bool:
    parts = split_http_url(url)
    return parts is not None and parts.port is not None


def check_tls(service: ServiceSettings) -> None:
    """Raise :class:`SettingsError` unless certificate and key are a usable pair, or both are unset."""
    if bool(service.tls_cert_file) != bool(service.tls_key_file):
        missing = "tls_key_file" if service.tls_cert_file else "tls_cert_file"
        present = "tls_cert_file" if service.tls_cert_file else "tls_key_file"
        raise SettingsError(
            f"service.{present}: service.{missing} is not set. Set both, or neither for plain HTTP."
        )
    if not service.tls_cert_file:
        return
    for key in ("tls_cert_file", "tls_key_file"):
        file = Path(getattr(service, key))
        try:
            file.read_bytes()
        except OSError as error:
            raise SettingsError(
                f"service.{key}: {file} cannot be read: {error.strerror}. Name a readable PEM file."
            ) from None
    _load_certificate(service)


def _load_certificate(service: ServiceSettings) -> None:
    import ssl  # only needed with TLS

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        # An empty password instead of a prompt on a terminal.
        context.load_cert_chain(service.tls_cert_file, service.tls_key_file, password=lambda: b"")
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise SettingsError(
                f"service.tls_key_file: {service.tls_key_file} does not belong to {service.tls_cert_file}. "
                "Set a certificate and its own key."
            ) from None
        raise SettingsError(
            f"service.tls_cert_file: {service.tls_cert_file} and {service.tls_key_file} cannot be used "
            f"({error.reason or error}). They must be PEM files: the certificate, followed by those of its issuers, and "
            "its key without a password."
        ) from None
