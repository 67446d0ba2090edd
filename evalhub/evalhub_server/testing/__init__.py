"""Test kit for plugin authors: contract suites, small reference implementations, builders, and a real server.

The suites (:class:`RuntimeContract`, :class:`StorageContract`, :class:`SharedStorageContract`, :class:`TrackerContract`,
:class:`ExporterContract`, :class:`ObserverContract`, :class:`PluginContract`) need pytest and pytest-asyncio and are imported on first use; everything else works without. The pytest plugin
:mod:`evalhub_pytest`, which the server's distribution brings, has fixtures over it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evalhub_server.testing.builders import (
    EPOCH,
    a_collection,
    a_finished_job,
    a_job,
    a_provider,
    all_of,
    any_of,
    none_of,
)
from evalhub_server.testing.echo import EchoConfig, EchoRuntime
from evalhub_server.testing.memory import MemoryStorage
from evalhub_server.testing.runs import a_run, a_spec
from evalhub_server.testing.shared_memory import SharedMemory, SharedMemoryStorage
from evalhub_server.testing.targets import MemoryExporter, MemoryObserver, MemoryTarget, MemoryTracker

if TYPE_CHECKING:
    from evalhub_server.testing.contract import Contract, replaces_contract_test
    from evalhub_server.testing.exporter_contract import ExporterContract
    from evalhub_server.testing.filled_record import FilledRecords
    from evalhub_server.testing.observer_contract import ObserverContract
    from evalhub_server.testing.plugin_contract import PluginContract
    from evalhub_server.testing.runtime_contract import RuntimeContract
    from evalhub_server.testing.server_process import ServerConfig, ServerProcess, TinyAdapter
    from evalhub_server.testing.shared_storage_contract import SharedStorageContract
    from evalhub_server.testing.storage_contract import StorageContract
    from evalhub_server.testing.tracker_contract import TrackerContract

__all__ = [
    "EPOCH",
    "Contract",
    "EchoConfig",
    "EchoRuntime",
    "ExporterContract",
    "FilledRecords",
    "MemoryExporter",
    "MemoryObserver",
    "MemoryStorage",
    "MemoryTarget",
    "MemoryTracker",
    "ObserverContract",
    "PluginContract",
    "RuntimeContract",
    "ServerConfig",
    "ServerProcess",
    "SharedMemory",
    "SharedMemoryStorage",
    "SharedStorageContract",
    "StorageContract",
    "TinyAdapter",
    "TrackerContract",
    "a_collection",
    "a_finished_job",
    "a_job",
    "a_provider",
    "a_run",
    "a_spec",
    "all_of",
    "any_of",
    "none_of",
    "replaces_contract_test",
]

_SUITES = {
    "Contract": "contract",
    "ExporterContract": "exporter_contract",
    "ObserverContract": "observer_contract",
    "PluginContract": "plugin_contract",
    "RuntimeContract": "runtime_contract",
    "SharedStorageContract": "shared_storage_contract",
    "StorageContract": "storage_contract",
    "TrackerContract": "tracker_contract",
    "replaces_contract_test": "contract",
}
_OTHERS = {
    "FilledRecords": "filled_record",
    "ServerConfig": "server_process",
    "ServerProcess": "server_process",
    "TinyAdapter": "server_process",
}


def __getattr__(name: str) -> Any:
    if name in _OTHERS:
        return getattr(import_module(f"{__name__}.{_OTHERS[name]}"), name)
    if name in _SUITES:
        _show_values_of_assertions()
        return getattr(import_module(f"{__name__}.{_SUITES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def _show_values_of_assertions() -> None:
    """Let pytest rewrite the assertions of all suites, unless they are imported already."""
    if (pytest := sys.modules.get("pytest")) is not None:
        files = Path(__file__).parent.glob("*.py")
        modules = {f"{__name__}.{file.stem}" for file in files if file.stem.endswith(("contract", "_case"))}
        pytest.register_assert_rewrite(*(modules - sys.modules.keys()))
