"""All that a plugin author imports: hook specifications, descriptors and the four abstract classes."""

from evalhub_common.addresses import is_loopback, is_public
from evalhub_common.backoff import Backoff, retry_after_s
from evalhub_common.docker_credentials import (
    NO_CREDENTIALS,
    DockerConfig,
    DockerConfigError,
    RegistryCredentials,
    credential_helper_key,
    registry_api_host,
)
from evalhub_common.durations import Duration, Timespan
from evalhub_common.http_auth import Challenge, basic_auth, parse_challenges, userinfo_auth
from evalhub_common.proxies import proxy_options
from evalhub_common.urls import host_of, port_of, split_http_url, without_userinfo
from evalhub_server.domain.record import (
    Exit,
    ExportOutcome,
    ExportRecord,
    JobPlan,
    JobRecord,
    TrackedExperiment,
)
from evalhub_server.domain.url_rewriting import SidecarUrls
from evalhub_server.errors import (
    AlreadyExists,
    ApiError,
    ExportRefused,
    LaunchError,
    NotFound,
    RuntimeUnavailable,
    SettingsError,
    StartupError,
    StorageError,
    StorageUnavailable,
)
from evalhub_server.models.common import Json
from evalhub_server.models.job import JobRequest
from evalhub_server.models.jobspec import JobSpec
from evalhub_server.plugins.descriptors import PLUGIN_API, Descriptor, DockerConfigOf, PluginContext
from evalhub_server.plugins.export import Exporter
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

__all__ = [
    "NO_CREDENTIALS",
    "PLUGIN_API",
    "AlreadyExists",
    "ApiError",
    "Backoff",
    "BenchmarkRun",
    "Challenge",
    "Descriptor",
    "DockerConfig",
    "DockerConfigError",
    "DockerConfigOf",
    "Duration",
    "Exit",
    "ExportOutcome",
    "ExportRecord",
    "ExportRefused",
    "Exporter",
    "Handle",
    "JobChange",
    "JobChanged",
    "JobPage",
    "JobPlan",
    "JobQuery",
    "JobRecord",
    "JobRequest",
    "JobSpec",
    "Json",
    "LaunchError",
    "Limits",
    "LogOptions",
    "NotFound",
    "Notice",
    "PluginContext",
    "RegistryCredentials",
    "ResourceChange",
    "ResourcePage",
    "ResourceQuery",
    "Runtime",
    "RuntimeUnavailable",
    "SettingsError",
    "SidecarUrls",
    "Sort",
    "StartupError",
    "Storage",
    "StorageError",
    "StorageUnavailable",
    "Terms",
    "Timespan",
    "TrackedExperiment",
    "Tracker",
    "basic_auth",
    "convert_section",
    "credential_helper_key",
    "find_section",
    "hookimpl",
    "hookspec",
    "host_of",
    "is_loopback",
    "is_public",
    "parse_challenges",
    "port_of",
    "proxy_options",
    "registry_api_host",
    "retry_after_s",
    "split_http_url",
    "userinfo_auth",
    "without_userinfo",
]
