"""What tests of the runtime share: one that looks often, over the fake cluster, and runs for it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from evalhub_runtime_k8s.plugin import make_runtime
from evalhub_runtime_k8s.runtime import KubernetesRuntime
from evalhub_runtime_k8s.settings import KubernetesSettings
from evalhub_server.plugins import BenchmarkRun, Exit, Handle, LogOptions, Notice, PluginContext
from evalhub_server.plugins.sections import Timespan
from evalhub_server.testing.runs import a_spec
from harness.kube.cluster import TENANT

OFTEN = Timespan(0.05)
SOON = Timespan(0.2)


def settings(**overrides: Any) -> KubernetesSettings:
    quick: dict[str, Any] = {
        "poll_interval": OFTEN,
        "image_pull_timeout": SOON,
        "container_error_timeout": SOON,
        "unschedulable_notice": SOON,
    }
    return KubernetesSettings(**(quick | overrides))


def a_runtime(**overrides: Any) -> KubernetesRuntime:
    """A runtime that finds the cluster through ``KUBECONFIG``."""
    return make_runtime(settings(**overrides), PluginContext(callback_url="http://127.0.0.1:1"))


@contextlib.asynccontextmanager
async def opened(**overrides: Any) -> AsyncIterator[KubernetesRuntime]:
    runtime = a_runtime(**overrides)
    await runtime.check()
    try:
        yield runtime
    finally:
        await runtime.close()


def a_run(
    script: str,
    *,
    attempt: int = 1,
    tenant: str = TENANT,
    env: dict[str, str] | None = None,
    **spec: Any,
) -> BenchmarkRun:
    """A run of a new job of the tenant whose pod goes through ``script``."""
    variables = [{"name": name, "value": value} for name, value in (env or {}).items()]
    config = {"image": f"script.test/{script}", "env": variables}
    return BenchmarkRun(spec=a_spec(**spec), attempt=attempt, tenant=tenant, config=config)


async def soon(outcome: Any, timeout_s: float = 30.0) -> Any:
    async with asyncio.timeout(timeout_s):
        return await outcome


async def until(condition: Callable[[], Any], what: str, timeout_s: float = 30.0) -> Any:
    """Return the first true value; unlike ``wait_until`` it lets the runtime under test go on."""
    deadline = asyncio.get_running_loop().time() + timeout_s
    while not (value := condition()):
        assert asyncio.get_running_loop().time() < deadline, f"not within {timeout_s} s: {what}"
        await asyncio.sleep(0.01)
    return value


async def exit_of(runtime: KubernetesRuntime, run: BenchmarkRun) -> Exit:
    return await soon(runtime.wait(await soon(runtime.launch(run))))


async def notice_of(runtime: KubernetesRuntime, handle: Handle, reason: str) -> Notice:
    """The first notice with this reason."""

    async def listen() -> Notice:
        async with contextlib.aclosing(runtime.notices(handle)) as notices:
            async for notice in notices:
                if notice is not None and notice.reason == reason:
                    return notice
        raise AssertionError("no more notices")

    return await soon(listen())


async def log_of(runtime: KubernetesRuntime, handle: Handle, tail_lines: int = -1) -> str:
    chunks = [chunk async for chunk in runtime.logs(handle, LogOptions(tail_lines=tail_lines))]
    return b"".join(chunks).decode()
