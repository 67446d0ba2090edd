"""The plugin API: the one module that plugins import from the server.

Everything in ``__all__`` is public and follows :data:`PLUGIN_API`; any other module of the server and
``evalhub_common`` are internal and change without notice. Contract suites and builders for tests are in
:mod:`evalhub_server.testing`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from evalhub_common.durations import Duration, Timespan
from evalhub_server import __version__ as SERVER_VERSION  # noqa: N812  a constant of the API
from evalhub_server.domain import problems
from evalhub_server.domain.log_lines import LogLines
from evalhub_server.domain.outbox import has_new_outcome
from evalhub_server.domain.record import (
    INTERRUPTED,
    BenchmarkRecord,
    Exit,
    ExportKind,
    ExportOutcome,
    JobDefinition,
    JobPlan,
    JobProgress,
    JobRecord,
    OutboxEntry,
    PlannedBenchmark,
    RefusedEvent,
    ResultRecord,
    TrackedExperiment,
    with_changes,
)
from evalhub_server.domain.resource import (
    RECORD_TYPES,
    AnyResource,
    CollectionRecord,
    Kind,
    ProviderRecord,
    ResourceRecord,
    kind_of,
    merge_system_resource,
    resource_labels,
)
from evalhub_server.domain.url_rewriting import SidecarUrls
from evalhub_server.errors import (
    AlreadyExists,
    ApiError,
    EvalHubError,
    ExportRefused,
    LaunchError,
    NotFound,
    PluginError,
    RuntimeUnavailable,
    SettingsError,
    StartupError,
    StorageError,
    StorageUnavailable,
)
from evalhub_server.models.collection import CollectionBenchmark, CollectionConfig
from evalhub_server.models.common import (
    GitRef,
    Gpu,
    HardwareConfig,
    HuggingFaceRef,
    Json,
    Message,
    PassCriteria,
    PrimaryScore,
    PvcRef,
    Queue,
    ResourceAmount,
    S3Ref,
    State,
    TestDataRef,
)
from evalhub_server.models.event import BenchmarkEvent, EventMetricSchema, JobMeta
from evalhub_server.models.job import (
    BenchmarkRef,
    BenchmarkTest,
    CollectionRef,
    Experiment,
    ExperimentTag,
    Exports,
    JobRequest,
    JobTest,
    LeftOut,
    MetricSchema,
    Model,
    ModelAuth,
    OciConnection,
    OciCoordinates,
    OciExport,
)
from evalhub_server.models.jobspec import JobSpec, JobSpecExports, JobSpecOci
from evalhub_server.models.provider import (
    SYSTEM_OWNER,
    Agent,
    BenchmarkAgent,
    ProviderAgent,
    ProviderBenchmark,
    ProviderConfig,
    ScoreRange,
)
from evalhub_server.plugins.descriptors import (
    OLDEST_PLUGIN_API,
    PLUGIN_API,
    Descriptor,
    DockerConfigOf,
    NoSettings,
    PluginContext,
)
from evalhub_server.plugins.export import CARD, Exporter, export_request
from evalhub_server.plugins.hookspecs import JobChanged, hookimpl, hookspec
from evalhub_server.plugins.runtime import BenchmarkRun, Handle, Limits, LogOptions, Notice, Runtime
from evalhub_server.plugins.sections import convert_section, find_section
from evalhub_server.plugins.storage import (
    JobChange,
    JobPage,
    JobQuery,
    ResourceChange,
    ResourcePage,
    ResourceQuery,
    Sort,
    Storage,
    Terms,
)
from evalhub_server.plugins.tracking import Tracker

if TYPE_CHECKING:
    from evalhub_common.addresses import is_address, is_loopback, is_machine_local, is_public
    from evalhub_common.backoff import Backoff, retry_after_s
    from evalhub_common.docker_credentials import (
        NO_CREDENTIALS,
        DockerConfig,
        DockerConfigError,
        RegistryCredentials,
        credential_helper_key,
        registry_api_host,
    )
    from evalhub_common.http_auth import Challenge, basic_auth, parse_challenges, userinfo_auth
    from evalhub_common.proxies import proxy_options
    from evalhub_common.registry_realms import DOCKER_HUB_REALMS, is_trusted_realm
    from evalhub_common.urls import host_of, port_of, split_http_url, without_userinfo
    from evalhub_server.domain.card import CARD_FILE, card_json
    from evalhub_server.domain.k8s_labels import MAX_LABEL_CHARACTERS, label_value
    from evalhub_server.domain.redaction import redacted, redacted_message, redacted_text
    from evalhub_server.models.runtime import KubernetesGpu, KubernetesRuntime, Variable
    from evalhub_server.plugins.documents import (
        UNWRITABLE,
        JobMigration,
        Record,
        check_identity,
        decoding,
        encode,
        unwritable,
    )
    from evalhub_server.plugins.queries import RESOURCE_ORDERS, single
    from evalhub_server.plugins.sidecar import (
        Amounts,
        InitContainer,
        Resources,
        SidecarContainer,
        SidecarEvalHub,
        SidecarLocal,
        SidecarMlflow,
        SidecarModel,
        SidecarOci,
        SidecarSettings,
    )

__all__ = [
    "CARD",
    "CARD_FILE",
    "DOCKER_HUB_REALMS",
    "INTERRUPTED",
    "MAX_LABEL_CHARACTERS",
    "NO_CREDENTIALS",
    "OLDEST_PLUGIN_API",
    "PLUGIN_API",
    "RECORD_TYPES",
    "RESOURCE_ORDERS",
    "SERVER_VERSION",
    "SYSTEM_OWNER",
    "UNWRITABLE",
    "Agent",
    "AlreadyExists",
    "Amounts",
    "AnyResource",
    "ApiError",
    "Backoff",
    "BenchmarkAgent",
    "BenchmarkEvent",
    "BenchmarkRecord",
    "BenchmarkRef",
    "BenchmarkRun",
    "BenchmarkTest",
    "Challenge",
    "CollectionBenchmark",
    "CollectionConfig",
    "CollectionRecord",
    "CollectionRef",
    "Descriptor",
    "DockerConfig",
    "DockerConfigError",
    "DockerConfigOf",
    "Duration",
    "EvalHubError",
    "EventMetricSchema",
    "Exit",
    "Experiment",
    "ExperimentTag",
    "ExportKind",
    "ExportOutcome",
    "ExportRefused",
    "Exporter",
    "Exports",
    "GitRef",
    "Gpu",
    "Handle",
    "HardwareConfig",
    "HuggingFaceRef",
    "InitContainer",
    "JobChange",
    "JobChanged",
    "JobDefinition",
    "JobMeta",
    "JobMigration",
    "JobPage",
    "JobPlan",
    "JobProgress",
    "JobQuery",
    "JobRecord",
    "JobRequest",
    "JobSpec",
    "JobSpecExports",
    "JobSpecOci",
    "JobTest",
    "Json",
    "Kind",
    "KubernetesGpu",
    "KubernetesRuntime",
    "LaunchError",
    "LeftOut",
    "Limits",
    "LogLines",
    "LogOptions",
    "Message",
    "MetricSchema",
    "Model",
    "ModelAuth",
    "NoSettings",
    "NotFound",
    "Notice",
    "OciConnection",
    "OciCoordinates",
    "OciExport",
    "OutboxEntry",
    "PassCriteria",
    "PlannedBenchmark",
    "PluginContext",
    "PluginError",
    "PrimaryScore",
    "ProviderAgent",
    "ProviderBenchmark",
    "ProviderConfig",
    "ProviderRecord",
    "PvcRef",
    "Queue",
    "Record",
    "RefusedEvent",
    "RegistryCredentials",
    "ResourceAmount",
    "ResourceChange",
    "ResourcePage",
    "ResourceQuery",
    "ResourceRecord",
    "Resources",
    "ResultRecord",
    "Runtime",
    "RuntimeUnavailable",
    "S3Ref",
    "ScoreRange",
    "SettingsError",
    "SidecarContainer",
    "SidecarEvalHub",
    "SidecarLocal",
    "SidecarMlflow",
    "SidecarModel",
    "SidecarOci",
    "SidecarSettings",
    "SidecarUrls",
    "Sort",
    "StartupError",
    "State",
    "Storage",
    "StorageError",
    "StorageUnavailable",
    "Terms",
    "TestDataRef",
    "Timespan",
    "TrackedExperiment",
    "Tracker",
    "Variable",
    "basic_auth",
    "card_json",
    "check_identity",
    "convert_section",
    "credential_helper_key",
    "decoding",
    "encode",
    "export_request",
    "find_section",
    "has_new_outcome",
    "hookimpl",
    "hookspec",
    "host_of",
    "is_address",
    "is_loopback",
    "is_machine_local",
    "is_public",
    "is_trusted_realm",
    "kind_of",
    "label_value",
    "merge_system_resource",
    "parse_challenges",
    "port_of",
    "problems",
    "proxy_options",
    "redacted",
    "redacted_message",
    "redacted_text",
    "registry_api_host",
    "resource_labels",
    "retry_after_s",
    "single",
    "split_http_url",
    "unwritable",
    "userinfo_auth",
    "with_changes",
    "without_userinfo",
]

_LAZY = {
    "evalhub_common.addresses": ("is_address", "is_loopback", "is_machine_local", "is_public"),
    "evalhub_common.backoff": ("Backoff", "retry_after_s"),
    "evalhub_common.docker_credentials": (
        "NO_CREDENTIALS",
        "DockerConfig",
        "DockerConfigError",
        "RegistryCredentials",
        "credential_helper_key",
        "registry_api_host",
    ),
    "evalhub_common.http_auth": ("Challenge", "basic_auth", "parse_challenges", "userinfo_auth"),
    "evalhub_common.proxies": ("proxy_options",),
    "evalhub_common.registry_realms": ("DOCKER_HUB_REALMS", "is_trusted_realm"),
    "evalhub_common.urls": ("host_of", "port_of", "split_http_url", "without_userinfo"),
    "evalhub_server.domain.card": ("CARD_FILE", "card_json"),
    "evalhub_server.domain.redaction": ("redacted", "redacted_message", "redacted_text"),
    "evalhub_server.domain.k8s_labels": ("MAX_LABEL_CHARACTERS", "label_value"),
    "evalhub_server.models.runtime": ("KubernetesGpu", "KubernetesRuntime", "Variable"),
    "evalhub_server.plugins.documents": (
        "UNWRITABLE",
        "JobMigration",
        "Record",
        "check_identity",
        "decoding",
        "encode",
        "unwritable",
        "with_changes",
    ),
    "evalhub_server.plugins.queries": ("RESOURCE_ORDERS", "single"),
    "evalhub_server.plugins.sidecar": (
        "Amounts",
        "InitContainer",
        "Resources",
        "SidecarContainer",
        "SidecarEvalHub",
        "SidecarLocal",
        "SidecarMlflow",
        "SidecarModel",
        "SidecarOci",
        "SidecarSettings",
    ),
}

if not TYPE_CHECKING:  # a type checker would accept any name

    def __getattr__(name: str) -> Any:
        """Import helpers that few plugins use when they are used."""
        for module, names in _LAZY.items():
            if name in names:
                value = globals()[name] = getattr(import_module(module), name)
                return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
