"""All that a plugin author imports: hook specifications, descriptors and the four abstract classes."""

from evalhub_server.plugins.descriptors import PLUGIN_API, Descriptor, PluginContext
from evalhub_server.plugins.export import Exporter, ExportOutcome
from evalhub_server.plugins.hookspecs import JobChanged, hookimpl, hookspec
from evalhub_server.plugins.runtime import BenchmarkRun, Handle, Limits, LogOptions, Runtime
from evalhub_server.plugins.storage import JobChange, JobPage, JobQuery, Storage, Terms
from evalhub_server.plugins.tracking import Tracker

__all__ = [
    "PLUGIN_API",
    "BenchmarkRun",
    "Descriptor",
    "ExportOutcome",
    "Exporter",
    "Handle",
    "JobChange",
    "JobChanged",
    "JobPage",
    "JobQuery",
    "Limits",
    "LogOptions",
    "PluginContext",
    "Runtime",
    "Storage",
    "Terms",
    "Tracker",
    "hookimpl",
    "hookspec",
]
