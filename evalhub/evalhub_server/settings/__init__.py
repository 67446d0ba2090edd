"""The configuration: files, environment, secret files and flags made into one frozen value.

``load.py`` has the order of precedence, ``known.py`` which keys and variables there are, ``secrets.py`` what is not
to be shown.
"""

from evalhub_server.plugins.sidecar import SidecarSettings
from evalhub_server.settings.environment import place_of
from evalhub_server.settings.layers import Finding, Place, key_of
from evalhub_server.settings.load import load_settings
from evalhub_server.settings.locate import bundled_config_dir
from evalhub_server.settings.schema import (
    CORE_SECTIONS,
    ENVIRONMENT,
    MIB,
    NO_EFFECT,
    FinalizerSettings,
    OtelSettings,
    PluginSettings,
    PrometheusSettings,
    ServiceSettings,
    SupervisorSettings,
    key_paths,
)
from evalhub_server.settings.secrets import SECRET_VARIABLES, Secrets
from evalhub_server.settings.value import Settings
from evalhub_server.settings.yaml_file import YamlFile, parse_yaml, read_yaml

__all__ = [
    "CORE_SECTIONS",
    "ENVIRONMENT",
    "MIB",
    "NO_EFFECT",
    "SECRET_VARIABLES",
    "FinalizerSettings",
    "Finding",
    "OtelSettings",
    "Place",
    "PluginSettings",
    "PrometheusSettings",
    "Secrets",
    "ServiceSettings",
    "Settings",
    "SidecarSettings",
    "SupervisorSettings",
    "YamlFile",
    "bundled_config_dir",
    "key_of",
    "key_paths",
    "load_settings",
    "parse_yaml",
    "place_of",
    "read_yaml",
]
