"""Files over HTTP: streamed to disk, whole or not at all, and asked for again when the network fails."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver

from evalhub_init.errors import InitError
from evalhub_init.pod_paths import make_parents

T = TypeVar("T")

ATTEMPTS = 4
FIRST_PAUSE_S = 0.5
AT_ONCE = 4
SILENCE_S = 60.0
CHUNK_BYTES = 1 << 20
READABLE = 0o644


class Unavailable(Exception):
    """An answer that another attempt may mend."""


def new_session(resolver: AbstractResolver | None = None) -> ClientSession:
    """Connections through the proxies that the environment names; silence ends a request, length does not."""
    timeout = ClientTimeout(total=None, sock_connect=30, sock_read=SILENCE_S)
    connector = TCPConnector(limit=AT_ONCE, resolver=resolver)
    return ClientSession(
        connector=connector,
        timeout=timeout,
        trust_env=True,
        requote_redirect_url=False,  # the address of a signed download is part of what is signed
    )


async def repeated(what: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """Try some times. Raises :class:`InitError` with the last problem."""
    for number in range(ATTEMPTS):
        try:
            return await attempt()
        except (ClientError, TimeoutError, Unavailable, ConnectionError) as error:
            if number + 1 == ATTEMPTS:
                raise InitError(
                    f"{what} failed {ATTEMPTS} times: {str(error) or type(error).__name__}."
                ) from error
            await asyncio.sleep(FIRST_PAUSE_S * 2**number)
    raise AssertionError


async def save(answer: ClientResponse, data: Path, file: Path) -> None:
    """Write an answer's body. Raises :class:`InitError` for the disk's problems."""
    make_parents(data, file)
    unfinished = file.with_name(f".{file.name[:200]}.part")
    try:
        with unfinished.open("wb") as out:
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                await asyncio.to_thread(out.write, chunk)
        unfinished.chmod(READABLE)
        unfinished.replace(file)
    except OSError as error:
        if isinstance(error, ClientError | ConnectionError | TimeoutError):
            raise
        raise InitError(f"'{file.name}' cannot be written: {error.strerror}.") from None


async def all_of(jobs: list[Callable[[], Awaitable[None]]]) -> None:
    """Run them, some at once; the first failure ends the others."""
    places = asyncio.Semaphore(AT_ONCE)

    async def one(job: Callable[[], Awaitable[None]]) -> None:
        async with places:
            await job()

    try:
        async with asyncio.TaskGroup() as group:
            for job in jobs:
                group.create_task(one(job))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
