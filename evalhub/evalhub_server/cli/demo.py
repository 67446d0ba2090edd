"""``eval-hub-server demo``: runs one job on a temporary server with a stand-in model."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Any

import msgspec

from evalhub_server.cli.progress import Progress, make_progress
from evalhub_server.cli.serve import run_async
from evalhub_server.cli.server import Server
from evalhub_server.cli.signals import on_signals
from evalhub_server.cli.tables import print_json
from evalhub_server.client import Client, ClientError, Job
from evalhub_server.client.resources import benchmark_results, benchmark_statuses, is_terminal
from evalhub_server.errors import StartupError
from evalhub_server.logs import configure_logs
from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import ENVIRONMENT, bundled_config_dir, load_settings

COLLECTION = "quickstart-v1"
POLL_S = 0.25


class DemoOptions(msgspec.Struct, kw_only=True, frozen=True):
    """Without ``model_url``, the job evaluates the bundled stand-in model."""

    model_url: str | None = None
    model_name: str | None = None
    num_examples: int | None = None
    timeout_s: float = 3600
    as_json: bool = False
    keeps: bool = False


def run_demo(options: DemoOptions) -> int:
    """Run the demo job; returns 0 if it completed and every benchmark reported metrics. Leaves no process running."""
    if options.model_url and not options.model_name:
        raise StartupError("--model-url also needs --model-name: the model's name at that endpoint.")
    if options.model_name and not options.model_url:
        raise StartupError("--model-name also needs --model-url: the endpoint that serves the model.")
    configure_logs("error")
    with _model(options) as (url, name):
        return run_async(_run(options, url, name))


@contextlib.contextmanager
def _model(options: DemoOptions) -> Generator[tuple[str, str], None, None]:
    if options.model_url and options.model_name:
        yield options.model_url, options.model_name
        return
    from evalhub_quickstart.demo import MODEL_NAME
    from evalhub_quickstart.endpoint import DemoEndpoint

    with DemoEndpoint() as endpoint:
        yield endpoint.url, MODEL_NAME


async def _run(options: DemoOptions, model_url: str, model_name: str) -> int:
    progress = make_progress(as_json=options.as_json)
    # The default directory may belong to another user of this computer.
    jobs_dir = Path(tempfile.mkdtemp(prefix="evalhub-demo-"))
    async with _server(jobs_dir) as (server, stopped):
        client = Client(server.url)
        progress.show(
            f"EvalHub Server is listening on {server.url}; the model is {model_name} at {model_url}"
        )
        try:
            request = await asyncio.to_thread(_request, client, options, model_url, model_name)
            job = await asyncio.to_thread(client.jobs.create, request)
            job = await _follow(client, job, progress, stopped, options.timeout_s)
        except ClientError as error:
            raise StartupError(f"the demo job was refused: {error}") from None
        if options.keeps and not stopped.is_set():
            await _keep(server, job, progress, stopped)
    progress.show(f"Logs and per-sample records are in {jobs_dir}")
    return _conclude(job, progress, options)


async def _keep(server: Server, job: Job, progress: Progress, stopped: asyncio.Event) -> None:
    """Show the job in a browser until a stop signal."""
    from evalhub_server.cli.browser import open_in_browser

    url = f"{server.url}/ui/jobs/{job['resource']['id']}"
    await asyncio.to_thread(open_in_browser, url)
    progress.show(f"The results are at {url} (Ctrl-C to stop)")
    await stopped.wait()


@contextlib.asynccontextmanager
async def _server(jobs_dir: Path) -> AsyncGenerator[tuple[Server, asyncio.Event], None]:
    """A server on a free loopback port, independent of the environment, and an event that is set by stop signals."""
    environ = {name: value for name, value in os.environ.items() if name not in ENVIRONMENT}
    environ.pop("EVALHUB_DATA_DIR", None)
    settings = load_settings(local=True, configdir=bundled_config_dir(), environ={**environ, "PORT": "0"})
    settings.sections["local"] = {"jobs_dir": str(jobs_dir)}
    stopped = asyncio.Event()
    on_signals(stopped.set)
    async with Server(settings, load_plugins()) as server:
        serving = asyncio.create_task(server.serve(), name="demo-server")
        try:
            yield server, stopped
        finally:
            server.stop()
            await serving


def _request(client: Client, options: DemoOptions, model_url: str, model_name: str) -> dict[str, Any]:
    parameters = {"num_examples": options.num_examples} if options.num_examples else {}
    return {
        "name": "demo",
        "description": "Submitted by eval-hub-server demo",
        "model": {"url": model_url, "name": model_name},
        "benchmarks": [
            {"id": member["id"], "provider_id": member["provider_id"], "parameters": parameters}
            for member in client.collections.get(COLLECTION).get("benchmarks") or []
        ],
    }


async def _follow(
    client: Client, job: Job, progress: Progress, stopped: asyncio.Event, timeout_s: float
) -> Job:
    job_id = job["resource"]["id"]
    deadline = time.monotonic() + timeout_s
    with progress:
        while not is_terminal(job):
            progress.update(job)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopped.wait(), POLL_S)
            if stopped.is_set() or time.monotonic() > deadline:
                with contextlib.suppress(ClientError):  # it may be terminal by now
                    await asyncio.to_thread(client.jobs.cancel, job_id)
            job = await asyncio.to_thread(client.jobs.get, job_id)
        progress.update(job)
    return job


def _conclude(job: Job, progress: Progress, options: DemoOptions) -> int:
    if options.as_json:
        print_json(job)
    progress.results(job)
    results = benchmark_results(job)
    complete = job["status"]["state"] == "completed" and all(result.get("metrics") for result in results)
    if complete and len(results) == len(benchmark_statuses(job)):
        return 0
    message = job["status"]["message"]["message"] if "message" in job["status"] else ""
    sys.stderr.write(f"The demo job did not complete: {message.strip()}\n")
    return 1
