"""All that a plugin author imports: hook specifications, descriptors and the four abstract classes."""

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
from evalhub_server.plugins.proxies import is_loopback, request_options
from evalhub_server.plugins.runtime import BenchmarkRun, Handle, Limits, LogOptions, Notice, Runtime
from evalhub_server.plugins.sections import Duration, Timespan, convert_section, find_section
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
    "PLUGIN_API",
    "AlreadyExists",
    "ApiError",
    "BenchmarkRun",
    "Descriptor",
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
    "convert_section",
    "find_section",
    "hookimpl",
    "hookspec",
    "is_loopback",
    "request_options",
]
