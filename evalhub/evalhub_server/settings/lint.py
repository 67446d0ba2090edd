"""Warnings about keys without effect: unknown keys, and keys of features that are not enabled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from evalhub_server.plugins.sections import nearest, unknown_keys
from evalhub_server.settings.layers import Document, Finding
from evalhub_server.settings.schema import CORE_SECTIONS, OTHER_SECTIONS, SecretFiles
from evalhub_server.settings.telemetry_sections import OtelSettings, PrometheusSettings

PluginSections = Mapping[str, Sequence[type[Struct]]]
"""Section → settings types of the plugins that read it; without types, any key is accepted."""


def unknown_findings(document: Document, plugins: PluginSections | None) -> Iterator[Finding]:
    """A warning for each unknown section and key. Without ``plugins``, sections that may belong to one are skipped."""
    claimed = {name.lower(): types for name, types in (plugins or {}).items()}
    known = {*CORE_SECTIONS, *OTHER_SECTIONS, *claimed, "secrets", "env_mappings"}
    for section, value in document.values.items():
        name = section.lower()
        if name == "env_mappings":
            continue
        if name not in known:
            if plugins is not None:
                yield document.warning(
                    f"{section}: unknown section{nearest(section, sorted(known))}, ignored"
                )
            continue
        types = (
            [{**CORE_SECTIONS, "secrets": SecretFiles}[name]] if name in {*CORE_SECTIONS, "secrets"} else []
        )
        types = types or list(claimed[name] if name in claimed else [OTHER_SECTIONS[name]])
        for key, hint in _unknown_to_all(value, types, section):
            yield document.warning(f"{key}: unknown key{hint}, ignored")


def unused_findings(
    document: Document, prometheus: PrometheusSettings, otel: OtelSettings
) -> Iterator[Finding]:
    """A warning for each key that has no effect because the feature it belongs to is not enabled."""
    if otel.enabled and otel.enable_job_container_logs and not otel.enable_logs:
        yield document.warning(
            "otel.enable_job_container_logs: has no effect without otel.enable_logs: true, ignored"
        )
    if prometheus.enabled or "prometheus.enabled" in document.locations():
        return
    for key in ("prometheus.port", "prometheus.host"):
        if key in document.locations():
            yield document.warning(f"{key}: has no effect without prometheus.enabled: true, ignored")


def _unknown_to_all(value: object, types: Sequence[type[Struct]], section: str) -> Iterator[tuple[str, str]]:
    found = [dict(unknown_keys(value, type_, section)) for type_ in types]
    if found:
        first, *others = found
        yield from ((key, hint) for key, hint in first.items() if all(key in other for other in others))
