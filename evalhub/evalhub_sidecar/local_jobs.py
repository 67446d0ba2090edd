"""A workstation's jobs and their models: ``/model/<job id>/…``.

The local runtime leaves ``sidecar-job-info.json`` in a job's directory. Where that is, the sidecar knows only as long
as it is the usual place or ``EVALHUB_DATA_DIR`` says it; for any other the server is asked.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import unquote, urlsplit

import msgspec
from aiohttp import ClientError, ClientSession
from msgspec import Struct

from evalhub_sidecar import logs
from evalhub_sidecar.config import Local, Model, decode_json
from evalhub_sidecar.errors import Refused, bad_gateway
from evalhub_sidecar.forward import problem
from evalhub_sidecar.model import model_upstream
from evalhub_sidecar.server import EVALUATIONS, Server
from evalhub_sidecar.upstream import Upstream

JOB_INFO = "sidecar-job-info.json"
DEFAULT_JOBS_DIR = "/tmp/evalhub-jobs"  # noqa: S108  the local runtime's; a job's file counts only if it is this user's
DATA_DIR = "EVALHUB_DATA_DIR"
PREFIX = "/model/"
_JOB_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,127}")


class JobInfo(Struct, kw_only=True, frozen=True):
    """``sidecar-job-info.json``."""

    model: Model


class _JobModel(Struct, kw_only=True, frozen=True):
    url: str = ""
    auth: dict[str, str] = {}


class _Job(Struct, kw_only=True, frozen=True):
    model: _JobModel = _JobModel()


def jobs_dir(environ: Mapping[str, str]) -> Path:
    """Where the server started beside this sidecar keeps its jobs, unless its configuration says otherwise."""
    data_dir = environ.get(DATA_DIR, "")
    return Path(data_dir).expanduser().absolute() / "jobs" if data_dir else Path(DEFAULT_JOBS_DIR)


def split_job(path: str) -> tuple[str, str]:
    """(job id, the model's path) of ``/model/<job id>/<path>``."""
    job_id, slash, rest = path.removeprefix(PREFIX).partition("/")
    return unquote(job_id), slash + rest or "/"


class LocalJobs:
    """Remembers for a while what it read. A context manager: entering starts the sweeping, leaving ends it."""

    def __init__(self, jobs_dir: Path, server: Server, session: ClientSession, local: Local) -> None:
        self._jobs_dir = jobs_dir
        self._server = server
        self._session = session
        self._local = local
        self._known: dict[str, tuple[float, Upstream]] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LocalJobs:
        self._sweeper = asyncio.create_task(self._sweep(), name="job-cache-sweep")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._sweeper is not None  # noqa: S101  made on entering
        self._sweeper.cancel()
        await asyncio.wait([self._sweeper])

    async def model_of(self, job_id: str) -> Upstream:
        """Raises :class:`Refused`: 404 for a job that is not there, 400 for one without a model URL, 502."""
        now = asyncio.get_running_loop().time()
        known = self._known.get(job_id)
        if known is not None and now < known[0]:
            return known[1]
        if not _JOB_ID.fullmatch(job_id):
            raise _unknown(job_id)
        info = await asyncio.to_thread(self._read, job_id) or await self._ask(job_id)
        if not info.model.url:
            raise Refused(400, "model_url_required", f"The job '{job_id}' has no model URL.")
        upstream = await asyncio.to_thread(model_upstream, info.model)
        self._known[job_id] = (now + self._local.job_cache_entry_ttl, upstream)
        return upstream

    def _read(self, job_id: str) -> JobInfo | None:
        file = self._jobs_dir / job_id / JOB_INFO
        try:
            with open(file, "rb", opener=_not_following_links) as stream:
                if hasattr(os, "geteuid") and os.fstat(stream.fileno()).st_uid != os.geteuid():
                    logs.warning("a job's file belongs to another user", path=str(file))
                    return None
                return decode_json(stream.read(), JobInfo)
        except (OSError, msgspec.MsgspecError) as error:
            if not isinstance(error, FileNotFoundError):
                logs.warning("a job's file cannot be used", path=str(file), error=str(error))
            return None

    async def _ask(self, job_id: str) -> JobInfo:
        authorization = await self._server.authorization()
        upstream = self._server.upstream
        try:
            async with self._session.get(
                upstream.url(self._server.target(f"{EVALUATIONS}/jobs/{job_id}")),
                headers={"Authorization": authorization} if authorization else {},
                ssl=upstream.tls,
                proxy=upstream.proxy,
                timeout=upstream.timeout,
            ) as answer:
                if answer.status == 404:
                    raise _unknown(job_id)
                answer.raise_for_status()
                job = msgspec.json.decode(await answer.read(), type=_Job)
        except (ClientError, TimeoutError, OSError, msgspec.MsgspecError) as error:
            raise bad_gateway(upstream.whom, problem(error)) from error
        secret = urlsplit(job.model.auth.get("secret_ref", ""))
        return JobInfo(
            model=Model(
                url=job.model.url,
                auth_secret_mount_path=unquote(secret.path) if secret.scheme == "file" else "",
            )
        )

    async def _sweep(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._local.job_cache_sweep_interval)
            now = loop.time()
            self._known = {job_id: known for job_id, known in self._known.items() if now < known[0]}


def _not_following_links(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0))


def _unknown(job_id: str) -> Refused:
    return Refused(404, "resource_not_found", f"The evaluation job resource '{job_id}' was not found.")
