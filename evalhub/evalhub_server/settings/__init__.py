"""The configuration of the server, as one frozen value built from files, environment, secret files and options.

``load.py`` documents the order of precedence, ``schema.py`` the sections and keys, ``secrets.py`` the redaction.
"""

from evalhub_server.plugins.sidecar import SidecarSettings
from evalhub_server.settings.environment import ENVIRONMENT, variable_location
from evalhub_server.settings.file_sections import MIB, RetentionSettings, SampleSettings
from evalhub_server.settings.keys import NO_EFFECT, Key, all_keys, key_paths
from evalhub_server.settings.layers import Finding, Location, key_of
from evalhub_server.settings.load import ServerFlags, load_settings
from evalhub_server.settings.locate import bundled_config_dir
from evalhub_server.settings.s3 import S3Connection, connection_of
from evalhub_server.settings.schema import (
    CORE_SECTIONS,
    FinalizerSettings,
    PluginSettings,
    ServiceSettings,
    SupervisorSettings,
    ViewerSettings,
)
from evalhub_server.settings.secrets import SECRET_VARIABLES, Secrets
from evalhub_server.settings.settings import Settings
from evalhub_server.settings.telemetry_sections import OtelSettings, PrometheusSettings
from evalhub_server.settings.yaml_file import (
    YamlFile,
    nearest_above,
    parse_yaml,
    read_yaml,
    without_garbage_collection,
)

__all__ = [
    "CORE_SECTIONS",
    "ENVIRONMENT",
    "MIB",
    "NO_EFFECT",
    "SECRET_VARIABLES",
    "FinalizerSettings",
    "Finding",
    "Key",
    "Location",
    "OtelSettings",
    "PluginSettings",
    "PrometheusSettings",
    "RetentionSettings",
    "S3Connection",
    "SampleSettings",
    "Secrets",
    "ServerFlags",
    "ServiceSettings",
    "Settings",
    "SidecarSettings",
    "SupervisorSettings",
    "ViewerSettings",
    "YamlFile",
    "all_keys",
    "bundled_config_dir",
    "connection_of",
    "key_of",
    "key_paths",
    "load_settings",
    "nearest_above",
    "parse_yaml",
    "read_yaml",
    "variable_location",
    "without_garbage_collection",
]
