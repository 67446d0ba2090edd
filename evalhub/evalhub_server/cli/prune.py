"""``eval-hub-server prune``: applies the retention policy once, or shows what it would delete."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import Unpack

from evalhub_server.cli.backup import Configured
from evalhub_server.cli.data_dir import check_data_dir
from evalhub_server.cli.output import write
from evalhub_server.cli.sample_folder import sample_backend
from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import AnyResource, BaselineRecord
from evalhub_server.domain.retention import Deletion, decide
from evalhub_server.engine.backup import Source
from evalhub_server.engine.baselines import baseline_jobs
from evalhub_server.engine.clock import utc_now
from evalhub_server.engine.job_store import JobStore
from evalhub_server.engine.retention import MAX_DELETIONS, Retention, job_facts
from evalhub_server.engine.sample_store import SampleStore
from evalhub_server.engine.stored_files import jobs_among
from evalhub_server.errors import StartupError
from evalhub_server.logs import configure_logs, flush_logs
from evalhub_server.plugins.runtime import Runtime
from evalhub_server.settings import ServerFlags, Settings


def run_prune(*, dry_run: bool, **flags: Unpack[ServerFlags]) -> int:
    """Print each thing that is deleted, with its size, and the total."""
    configured = Configured.load(**flags)
    settings = configured.settings
    if not settings.retention.policy.deletes:
        raise StartupError("Nothing is deleted, since no limit is set in section retention of config.yaml.")
    if settings.data_dir is not None:
        check_data_dir(settings.data_dir, shared=False)
    configure_logs("warning", secrets=settings.secrets.values, log_format=settings.log_format)
    source = configured.source()
    work = _planned(source, settings) if dry_run else _pruned(source, settings)
    try:
        deletions = configured.run(work)
    finally:
        flush_logs()
    for each in deletions:
        write(f"{each.job_id}  {each.what}  {each.bytes} bytes  {each.setting}\n")
    size = sum(each.bytes for each in deletions)
    write(f"{'would delete' if dry_run else 'deleted'} {len(deletions)} ({size} bytes)\n")
    return 0


def _runtime(source: Source) -> Runtime:
    assert source.roots.runtime is not None  # noqa: S101  the configured one
    return source.roots.runtime


async def _planned(source: Source, settings: Settings) -> list[Deletion]:
    records: list[JobRecord | AnyResource] = []
    problems = await source.storage.examine(None, records.append)
    for problem in problems:
        write(f"error: {problem}\n")
    runtime, policy = _runtime(source), settings.retention.policy
    baselines = {record.config.job_id for record in records if isinstance(record, BaselineRecord)}
    facts = [await job_facts(job, runtime, policy, baselines) for job in jobs_among(records)]
    return decide(facts, policy, utc_now())


async def _pruned(source: Source, settings: Settings) -> list[Deletion]:
    storage, runtime = source.storage, _runtime(source)
    await storage.open()
    stack = ExitStack()
    try:
        await runtime.check()
        samples = SampleStore(sample_backend(stack, settings), settings.samples)
        baselines = partial(baseline_jobs, storage)
        retention = Retention(
            JobStore(storage), runtime, samples, settings.retention.policy, utc_now, baselines
        )
        deletions: list[Deletion] = []
        while found := await retention.prune():
            deletions += found
            if len(found) < MAX_DELETIONS:
                break
        return deletions
    finally:
        stack.close()
        await runtime.close()
        await storage.close()
