"""Downloads over HTTP: redirects, retries, and atomic files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeVar

from aiohttp import ClientError, ClientResponse, ClientSession, ClientTimeout, TCPConnector
from aiohttp.abc import AbstractResolver
from yarl import URL

from evalhub_common.backoff import Backoff
from evalhub_common.proxies import proxy_options
from evalhub_init.errors import InitError
from evalhub_init.pod_paths import make_parents

T = TypeVar("T")

MAX_ATTEMPTS = 4
RETRY = Backoff(first_s=0.5, max_s=4.0)
MAX_PARALLEL = 4
READ_TIMEOUT_S = 60.0
MAX_REDIRECTS = 10
REDIRECTS = (301, 302, 303, 307, 308)
CHUNK_BYTES = 1 << 20
FILE_MODE = 0o644


class Unavailable(Exception):
    """A temporary error of a server."""


def new_session(resolver: AbstractResolver | None = None) -> ClientSession:
    """A session that limits the wait for the next bytes of a response, but not the duration of all of it."""
    timeout = ClientTimeout(total=None, sock_connect=30, sock_read=READ_TIMEOUT_S)
    connector = TCPConnector(limit=MAX_PARALLEL, resolver=resolver)
    return ClientSession(connector=connector, timeout=timeout)


@asynccontextmanager
async def get(session: ClientSession, url: URL, headers: Mapping[str, str]) -> AsyncGenerator[ClientResponse]:
    """A GET that follows redirects, through the proxy of each URL. ``Authorization`` is sent to the first origin only.

    URLs are sent as they are, because signed ones must not be encoded again. Raises :class:`InitError` for too many
    redirects.
    """
    for _ in range(MAX_REDIRECTS + 1):
        async with session.get(url, allow_redirects=False, **proxy_options(str(url), headers)) as answer:
            location = answer.headers.get("Location", "") if answer.status in REDIRECTS else ""
            if not location:
                yield answer
                return
        next_url = url.join(URL(location, encoded=True))
        if next_url.origin() != url.origin():
            headers = {name: value for name, value in headers.items() if name.lower() != "authorization"}
        url = next_url
    raise InitError(f"'{url.host}' redirects more than {MAX_REDIRECTS} times.")


async def retrying(action: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """The result of the first successful attempt. Raises :class:`InitError` with the error of the last one.

    ``action`` is for the message, such as ``Listing the bucket``.
    """
    delays = RETRY.delays()
    failures = 0
    while True:
        try:
            return await attempt()
        except (ClientError, TimeoutError, Unavailable, ConnectionError) as error:
            failures += 1
            if failures == MAX_ATTEMPTS:
                problem = str(error) or type(error).__name__
                raise InitError(f"{action} failed {MAX_ATTEMPTS} times: {problem}.") from error
        await asyncio.sleep(next(delays))


async def save(answer: ClientResponse, data: Path, file: Path) -> None:
    """Write the body of a response to a file, atomically. Raises :class:`InitError` for errors of the disk."""
    make_parents(data, file)
    unfinished = file.with_name(f".{file.name[:200]}.part")
    try:
        with unfinished.open("wb") as out:
            async for chunk in answer.content.iter_chunked(CHUNK_BYTES):
                await asyncio.to_thread(out.write, chunk)
        unfinished.chmod(FILE_MODE)
        unfinished.replace(file)
    except OSError as error:
        if isinstance(error, ClientError | ConnectionError | TimeoutError):
            raise
        raise InitError(f"'{file.name}' cannot be written: {error.strerror}.") from None


async def in_parallel(actions: list[Callable[[], Awaitable[None]]]) -> None:
    """Run all actions, a few at a time; the first failure cancels the others."""
    slots = asyncio.Semaphore(MAX_PARALLEL)

    async def run(action: Callable[[], Awaitable[None]]) -> None:
        async with slots:
            await action()

    try:
        async with asyncio.TaskGroup() as group:
            for action in actions:
                group.create_task(run(action))
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
