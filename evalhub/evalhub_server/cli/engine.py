"""Assembly of the engine: services that every server has, and the parts that only a leading one opens."""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack, suppress
from functools import partial

from evalhub_server.cli.leader_parts import LeaderParts, file_watcher, observer_dispatcher
from evalhub_server.cli.parts import EngineParts, SelectedPlugins
from evalhub_server.cli.sample_folder import open_samples
from evalhub_server.cli.selection import exporter_names
from evalhub_server.cli.telemetry import ServerTelemetry
from evalhub_server.domain.resource import Kind
from evalhub_server.engine.abandoned_launches import AbandonedLaunches
from evalhub_server.engine.baselines import BaselineService, baseline_jobs
from evalhub_server.engine.change_follower import ChangeFollower
from evalhub_server.engine.clock import utc_now
from evalhub_server.engine.comparisons import ComparisonService
from evalhub_server.engine.exports import open_exports
from evalhub_server.engine.job_stopper import JobStopper
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.jobs import JobService
from evalhub_server.engine.late_effects import LateEffects
from evalhub_server.engine.leader_store import LeaderStore
from evalhub_server.engine.leadership import Leadership, SingleServer
from evalhub_server.engine.outbox import Outbox
from evalhub_server.engine.outbox_targets import ExportTargets
from evalhub_server.engine.previous_samples import PreviousSamples
from evalhub_server.engine.random_ids import random_ids
from evalhub_server.engine.resource_store import ResourceStore
from evalhub_server.engine.resources import ResourceService
from evalhub_server.engine.retention import Retention
from evalhub_server.engine.run_builder import RunBuilder
from evalhub_server.engine.server_state import Role, ServerState
from evalhub_server.engine.stored_bytes import StoredBytes
from evalhub_server.engine.supervisor import Supervisor
from evalhub_server.errors import ApiError
from evalhub_server.plugins.export import Exporter
from evalhub_server.plugins.manager import Plugins
from evalhub_server.plugins.shared_storage import SharedStorage
from evalhub_server.plugins.storage import ResourceQuery
from evalhub_server.settings import Settings
from evalhub_server.web.access_policy import commands_allowed
from evalhub_server.web.credentials import Credentials

CATALOGUE_TIMEOUT_S = 10.0
CATALOGUE_POLL_S = 0.1


async def open_engine(
    stack: AsyncExitStack,
    settings: Settings,
    plugins: Plugins,
    selected: SelectedPlugins,
    telemetry: ServerTelemetry,
    url: str,
    state: ServerState,
    credentials: Credentials | None,
) -> EngineParts:
    """The services of a server, closed by ``stack``. What supervises jobs is not started: see :func:`start_engine`."""
    new_id = random_ids().__next__
    storage, runtime, trackers = selected.storage, selected.runtime, selected.trackers
    shared = storage if isinstance(storage, SharedStorage) and not runtime.on_this_host else None
    targets = ExportTargets(trackers, selected.exporters, plugins.names(Exporter))
    store = JobStore(storage, targets.pending_exports)
    leader_store = LeaderStore(storage, targets.pending_exports, store) if shared is not None else store
    observers = observer_dispatcher(selected)
    leader_store.listen(observers.publish)
    telemetry.observe(leader_store, runtime)
    outbox = Outbox(leader_store, targets, settings.finalizer, random.random, settings.secrets.redact)
    callback_path = credentials.callback_path if credentials else None
    # The address of the collector may not be reachable from pods.
    environment = settings.otel.adapter_environment if settings.local else {}
    runs = RunBuilder(
        url, runtime.provider_key, trackers, callback_path, environment, telemetry.environment_of
    )
    supervisor = Supervisor(leader_store, runtime, runs, settings.supervisor, utc_now)
    resource_store = ResourceStore(storage, leader_store.writable)
    resources = ResourceService(
        resource_store,
        utc_now,
        new_id,
        settings.service.body_limit_bytes,
        commands_allowed=commands_allowed(settings),
        runtime=runtime if settings.local else None,
    )
    samples = await open_samples(stack, settings, store, leader_store, runtime)
    runs.previous_samples = PreviousSamples(store, samples.files)
    requests = plugins.export_requests(exporter_names(settings))
    exports = open_exports(stack, store, requests, targets, trackers)
    abandoned = AbandonedLaunches(store, runtime, runs)
    stack.push_async_callback(abandoned.close)
    late_effects = LateEffects(leader_store, store, targets, settings.finalizer.max_parallel)
    stack.push_async_callback(late_effects.close)
    named = partial(baseline_jobs, storage)
    leader = LeaderParts(
        leader_store,
        supervisor,
        outbox,
        samples.collector,
        Retention(leader_store, runtime, samples.files, settings.retention.policy, utc_now, named),
        file_watcher(settings, plugins, resource_store),
        observers,
        abandoned,
        late_effects,
    )
    follower = None
    if shared is not None and isinstance(leader_store, LeaderStore):
        leadership = Leadership(shared, leader_store, leader, state.set_role)
        follower = ChangeFollower(
            shared, store.changes, utc_now, resource_store.changed_elsewhere, leadership.wake
        )
    else:
        leadership = SingleServer(leader)
    stopper = JobStopper(
        store, supervisor, runtime, runs, settings.supervisor.stop_grace, leadership.leader_exists
    )
    jobs = JobService(
        store,
        supervisor,
        runtime,
        resources,
        trackers,
        utc_now,
        new_id,
        exports,
        samples.collector,
        stopper,
        settings.service.benchmarks_limit,
    )
    comparisons = ComparisonService(jobs, samples.files)
    stack.push_async_callback(comparisons.close)
    stored = StoredBytes(storage, samples.files.backend if samples.files.keeps else None, runtime.logs_dir)
    stack.push_async_callback(stored.close)
    return EngineParts(
        store=store,
        outbox=outbox,
        observers=observers,
        targets=targets,
        supervisor=supervisor,
        resources=resources,
        jobs=jobs,
        samples=samples,
        comparisons=comparisons,
        baselines=BaselineService(storage, jobs, utc_now),
        credentials=credentials,
        stored=stored,
        leadership=leadership,
        follower=follower,
    )


async def start_engine(stack: AsyncExitStack, engine: EngineParts) -> None:
    """Supervise jobs, or follow the server that does; ``stack`` ends that."""
    if engine.follower is not None:
        stack.push_async_callback(engine.store.close)
        stack.push_async_callback(engine.follower.close)
        await engine.follower.start()
    stack.push_async_callback(engine.leadership.close)
    await engine.leadership.start()
    if engine.leadership.role is Role.FOLLOWER:
        await _wait_for_catalogue(engine.resources)


async def _wait_for_catalogue(resources: ResourceService) -> None:
    """At the first start of several servers, wait for a while until the leader has stored the providers from files."""
    query = ResourceQuery(kind=Kind.PROVIDER, system=True, limit=0)
    with suppress(TimeoutError, ApiError):
        async with asyncio.timeout(CATALOGUE_TIMEOUT_S):
            while not (await resources.list(query)).total_count:  # noqa: ASYNC110  another server writes them
                await asyncio.sleep(CATALOGUE_POLL_S)
