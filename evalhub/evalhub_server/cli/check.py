"""``eval-hub-server check``: validates everything that a server reads at start-up, and starts nothing."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar, Unpack

import msgspec
from msgspec import Struct

from evalhub_server.cli.data_dir import check_data_dir
from evalhub_server.cli.output import write
from evalhub_server.cli.sample_folder import check_bucket, check_folder, sample_backend
from evalhub_server.cli.selection import (
    broken_plugin,
    exporter_names,
    make_selected,
    observer_names,
    runtime_name,
    selection_warnings,
    storage_name,
    tracker_names,
)
from evalhub_server.cli.telemetry import require_telemetry
from evalhub_server.engine.catalog_files import Loaded, pack_conflicts, read_folders, with_providers
from evalhub_server.engine.catalog_lint import lint, missing_commands
from evalhub_server.engine.sample_bucket import SampleBucket
from evalhub_server.errors import EvalHubError, PluginError, SettingsError, StartupError, StorageError
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.provider import ProviderConfig
from evalhub_server.plugins.descriptors import PluginContext
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.plugins.export import Exporter
from evalhub_server.plugins.manager import Plugins
from evalhub_server.plugins.observation import Observer
from evalhub_server.plugins.packs import Pack, pack_folders
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.plugins.sections import convert_section, find_section
from evalhub_server.plugins.shared_storage import SharedStorage
from evalhub_server.plugins.storage import Storage
from evalhub_server.plugins.tracking import Tracker
from evalhub_server.settings import (
    Finding,
    ServerFlags,
    Settings,
    all_keys,
    bundled_config_dir,
    key_of,
    load_settings,
    parse_yaml,
)
from evalhub_server.settings.policy_file import PolicyFileError, load_policy

T = TypeVar("T", bound=Struct)


class Report(Struct, kw_only=True):
    """``ok``: no finding is an error."""

    ok: bool
    config_file: str = ""
    providers: int = 0
    collections: int = 0
    findings: list[Finding]


def check(*, as_json: bool, policies: Sequence[Path] = (), **flags: Unpack[ServerFlags]) -> int:
    """Print all findings; returns 1 if one is an error, else 0.

    Opens no socket and writes no file, except for the bucket of ``samples.url``, which is tried.
    """
    report = examine(policies, **flags)
    if as_json:
        write(msgspec.json.format(msgspec.json.encode(report)).decode() + "\n")
    else:
        for finding in report.findings:
            text = f"{str(finding).rstrip('.')}. {finding.hint}" if finding.hint else str(finding)
            write(f"{finding.severity}: {' '.join(text.split())}\n")
        write(_summary(report) + "\n")
    return 0 if report.ok else 1


def examine(policies: Sequence[Path] = (), **flags: Unpack[ServerFlags]) -> Report:
    """Validate the configuration, the plugins that it selects, every provider and collection file, and gate policies."""
    plugins = load_plugins()
    errors: list[SettingsError] = []
    try:
        settings = load_settings(**flags, plugin_sections=plugins.sections(), errors=errors)
    except SettingsError as error:
        return Report(ok=False, findings=[_finding(error)])
    findings = [_finding(error) for error in errors]
    findings += [*settings.warnings, *selection_warnings(settings)]
    findings += [Finding("warning", info.distribution, 0, broken_plugin(info)) for info in plugins.broken]
    findings += _selection_findings(plugins, settings)
    findings += [Finding("warning", name, 0, text) for name, text in plugins.warnings]
    if not any(error.message.startswith("samples.") for error in errors):
        findings += _bucket_findings(settings)
    findings = _with_hints(findings, plugins)
    packs, pack_findings = _packs(plugins, settings)
    providers, provider_findings = _folders(
        settings.providers_dirs(pack_folders(packs, "providers")), ProviderConfig
    )
    collections, collection_findings = _folders(
        settings.collections_dirs(pack_folders(packs, "collections")), CollectionConfig
    )
    findings += [*pack_findings, *provider_findings, *collection_findings]
    served = with_providers(
        collections, {provider.id for provider in providers}, bundled_config_dir() / "collections"
    )
    if left_out := sorted(one.id for one in collections if one not in served):
        findings.append(_left_out(settings, left_out))
    findings += lint(providers, served)
    for file in policies:
        findings += _policy_findings(file, providers)
    if settings.local:
        findings += missing_commands(providers, os.environ, _local_cwd(settings))
    return Report(
        ok=all(finding.severity != "error" for finding in findings),
        config_file=str(settings.config_file),
        providers=len(providers),
        collections=len(served),
        findings=[_printable(finding) for finding in findings],
    )


def _packs(plugins: Plugins, settings: Settings) -> tuple[list[Pack], list[Finding]]:
    try:
        packs = plugins.packs(settings.catalog.packs)
    except PluginError as error:
        return [], [Finding("error", str(settings.config_file), 0, str(error))]
    return packs, pack_conflicts(packs)


def _folders(folders: Sequence[Path], type_: type[T]) -> tuple[list[Loaded[T]], list[Finding]]:
    try:
        return read_folders(folders, type_)
    except SettingsError as error:
        return [], [_finding(error)]


def _policy_findings(file: Path, providers: Sequence[Loaded[ProviderConfig]]) -> list[Finding]:
    try:
        policy = load_policy(file)
    except PolicyFileError as error:
        return error.findings
    offered = {f"{each.id}/{benchmark.id}" for each in providers for benchmark in each.config.benchmarks}
    return [
        Finding(
            "warning",
            str(file),
            parse_yaml(file).line(f"benchmarks[{index}]"),
            f"benchmarks[{index}]: no provider file has a benchmark '{benchmark.name}'",
        )
        for index, benchmark in enumerate(policy.benchmarks)
        if benchmark.name not in offered
    ]


def _left_out(settings: Settings, collections: list[str]) -> Finding:
    text = (
        f"{_count(len(collections), 'bundled collection')} without their providers not served: {', '.join(collections)}; "
        "catalog.bundled: true serves both"
    )
    return Finding("info", str(settings.config_file), 0, text)


class _Local(Struct, kw_only=True):
    cwd: str = ""


def _local_cwd(settings: Settings) -> str:
    try:
        return convert_section(find_section(settings.sections, "local"), _Local, "local", strict=False).cwd
    except SettingsError:  # the runtime reports it
        return ""


def _with_hints(findings: list[Finding], plugins: Plugins) -> list[Finding]:
    keys = all_keys(plugins.sections())
    hints = {path: found[-1].description for path, found in keys.items()}
    return [
        msgspec.structs.replace(finding, hint=hints.get(key_of(finding.message).lower(), ""))
        for finding in findings
    ]


def _printable(finding: Finding) -> Finding:
    """The finding with a source that can be printed: file names need not be UTF-8."""
    source = finding.source.encode("utf-8", "backslashreplace").decode()
    return msgspec.structs.replace(finding, source=source)


def _selection_findings(plugins: Plugins, settings: Settings) -> list[Finding]:
    findings: list[Finding] = []
    context = PluginContext(
        data_dir=settings.data_dir, secrets=settings.secrets.variables, sections=settings.sections
    )
    selected: list[tuple[type[object], str]] = [
        (Storage, storage_name(settings)),
        (Runtime, runtime_name(settings)),
        *((Tracker, name) for name in tracker_names(settings)),
        *((Exporter, name) for name in exporter_names(settings)),
        *((Observer, name) for name in observer_names(settings, plugins)),
    ]
    if settings.otel.enabled:
        try:
            require_telemetry(settings.otel)
        except StartupError as error:
            findings.append(_finding(error, settings))
    shared, remote = False, False
    for kind, name in selected:
        try:
            # The instance is dropped: a plugin does nothing before it is opened.
            made = make_selected(plugins, settings, kind, name, context)
            shared = shared or (isinstance(made, Runtime) and not made.on_this_host)
            if isinstance(made, SharedStorage):
                findings += _database_findings(made, settings)
            remote = remote or (isinstance(made, Storage) and made.durable and made.local_file is None)
        except EvalHubError as error:
            findings.append(_finding(error, settings))
    if settings.data_dir is not None:
        try:
            check_data_dir(settings.data_dir, shared=shared)
        except StartupError as error:
            findings.append(Finding("error", "", 0, settings.secrets.redact(str(error))))
    if settings.samples.url and settings.samples_dir is not None:
        try:
            check_folder(settings.samples_dir, shared=shared)
        except StartupError as error:
            findings.append(_finding(error, settings))
    if remote and not settings.samples_in_bucket:
        findings.append(_one_host(settings))
    return findings


def _database_findings(storage: SharedStorage, settings: Settings) -> list[Finding]:
    """Whether the database server can be used; one that cannot be reached from here may be from where the server runs."""
    try:
        asyncio.run(storage.check())
    except StorageError as error:
        finding = _finding(error, settings)
        return [msgspec.structs.replace(finding, severity="warning")]
    except StartupError as error:
        return [_finding(error, settings)]
    return []


def _one_host(settings: Settings) -> Finding:
    kept = f"are in the folder {settings.samples_dir}" if settings.samples_dir else "are not kept"
    text = (
        f"samples.url: samples {kept}; several servers on this database need a bucket "
        "(s3://bucket/prefix), or a folder that all of them mount"
    )
    return Finding("info", str(settings.config_file), 0, text)


def _bucket_findings(settings: Settings) -> list[Finding]:
    """Whether the bucket of ``samples.url`` can be used."""
    if not settings.samples_in_bucket:
        return []
    try:
        with ExitStack() as stack:
            backend = sample_backend(stack, settings)
            if isinstance(backend, SampleBucket):
                check_bucket(backend)
    except StartupError as error:
        return [_finding(error, settings)]
    return []


def _finding(error: EvalHubError, settings: Settings | None = None) -> Finding:
    if isinstance(error, SettingsError):
        return Finding("error", error.source, error.line, error.message)
    text = settings.secrets.redact(str(error)) if settings else str(error)
    return Finding("error", str(settings.config_file) if settings else "", 0, text)


def _summary(report: Report) -> str:
    errors = sum(finding.severity == "error" for finding in report.findings)
    warnings = sum(finding.severity == "warning" for finding in report.findings)
    counts = f"{_count(errors, 'error')}, {_count(warnings, 'warning')}"
    if not report.config_file:
        return counts
    return (
        f"{report.config_file}, {_count(report.providers, 'provider')}, "
        f"{_count(report.collections, 'collection')}: {counts}"
    )


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"
