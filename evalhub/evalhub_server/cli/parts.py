"""The parts of a running server, as the composition root passes them on."""

from __future__ import annotations

from typing import NamedTuple

from evalhub_server.cli.sample_folder import Samples
from evalhub_server.engine.baselines import BaselineService
from evalhub_server.engine.change_follower import ChangeFollower
from evalhub_server.engine.comparisons import ComparisonService
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.jobs import JobService
from evalhub_server.engine.leadership import Leadership, SingleServer
from evalhub_server.engine.observers import ObserverDispatcher
from evalhub_server.engine.outbox import Outbox
from evalhub_server.engine.outbox_targets import ExportTargets
from evalhub_server.engine.resources import ResourceService
from evalhub_server.engine.stored_bytes import StoredBytes
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.plugins.export import Exporter
from evalhub_server.plugins.observation import Observer
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.plugins.storage import Storage
from evalhub_server.plugins.tracking import Tracker
from evalhub_server.web.credentials import Credentials


class SelectedPlugins(NamedTuple):
    """Plugins that the configuration selects, open and checked."""

    storage: Storage
    runtime: Runtime
    trackers: list[Tracker]
    exporters: list[Exporter]
    observers: list[Observer]


class EngineParts(NamedTuple):
    """Services of the server, which the HTTP application and the metrics use."""

    store: JobStore
    outbox: Outbox
    observers: ObserverDispatcher
    targets: ExportTargets
    supervisor: Supervisor
    resources: ResourceService
    jobs: JobService
    samples: Samples
    comparisons: ComparisonService
    baselines: BaselineService
    credentials: Credentials | None
    stored: StoredBytes
    leadership: Leadership | SingleServer
    follower: ChangeFollower | None
