"""What pods go through, by the image of their adapter: ``script.test/NAME`` or ``script.test/NAME:ARGUMENT``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from harness.kube.pods import PodScript

if TYPE_CHECKING:
    from harness.kube.kubelet import Script

HOST = "script.test/"


async def runs(pod: PodScript) -> None:
    """Runs until it is deleted, and ignores SIGTERM."""
    pod.runs()
    await asyncio.Event().wait()


async def stops(pod: PodScript) -> None:
    """Runs until it is deleted, and then ends by itself."""
    pod.runs()
    await pod.terminating.wait()
    pod.exits(143)


def exits(code: str) -> Script:
    async def script(pod: PodScript) -> None:
        pod.runs()
        pod.prints(pod.env.get("TEXT", ""))
        pod.exits(int(code), message=pod.env.get("MESSAGE", ""))

    return script


async def out_of_memory(pod: PodScript) -> None:
    pod.runs()
    pod.exits(137, "OOMKilled")


async def evicted(pod: PodScript) -> None:
    pod.runs()
    pod.evicted()


async def preempted(pod: PodScript) -> None:
    pod.runs()
    pod.preempted()


async def unschedulable(pod: PodScript) -> None:
    pod.unschedulable()


def waits(reason: str) -> Script:
    async def script(pod: PodScript) -> None:
        pod.waits(reason, f"because of {reason}")

    return script


async def init_fails(pod: PodScript) -> None:
    pod.exits(1, message="the bucket is empty", container="init")


async def node_lost(pod: PodScript) -> None:
    pod.runs()
    pod.gone()


async def pending(pod: PodScript) -> None:
    """Nothing ever happens."""


PLAIN: dict[str, Script] = {
    "runs": runs,
    "stops": stops,
    "oom": out_of_memory,
    "evicted": evicted,
    "preempted": preempted,
    "unschedulable": unschedulable,
    "init-fails": init_fails,
    "node-lost": node_lost,
    "pending": pending,
}
WITH_ARGUMENT: dict[str, Callable[[str], Script]] = {"exits": exits, "waits": waits}


def by_image(image: str) -> Script:
    name, _, argument = image.removeprefix(HOST).partition(":")
    if name in WITH_ARGUMENT:
        return WITH_ARGUMENT[name](argument)
    return PLAIN.get(name, runs)
