"""Models of a workstation's jobs, for ``/model/<job id>/…``.

The local runtime writes ``sidecar-job-info.json`` to a job's directory. The sidecar finds that in the default location
or below ``EVALHUB_DATA_DIR``; otherwise it gets the job from the server.
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

from evalhub_common.private_paths import UnsafePath, open_private
from evalhub_sidecar import logs
from evalhub_sidecar.config import Local, Model, decode_json
from evalhub_sidecar.errors import Refused, bad_gateway
from evalhub_sidecar.forward import problem
from evalhub_sidecar.model import model_upstream
from evalhub_sidecar.server import EVALUATIONS, Server
from evalhub_sidecar.upstream import Upstream

JOB_INFO = "sidecar-job-info.json"
DEFAULT_JOBS_DIR = "/tmp/evalhub-jobs"  # noqa: S108  the local runtime's; files of other users are ignored
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
    """The jobs directory of a server that was started beside this sidecar and has no other in its configuration."""
    data_dir = environ.get(DATA_DIR, "")
    return Path(data_dir).expanduser().absolute() / "jobs" if data_dir else Path(DEFAULT_JOBS_DIR)


def split_job(path: str) -> tuple[str, str]:
    """(job id, the model's path) of ``/model/<job id>/<path>``."""
    job_id, slash, rest = path.removeprefix(PREFIX).partition("/")
    return unquote(job_id), slash + rest or "/"


class LocalJobs:
    """Models by job id, cached. A context manager, which runs a task that removes expired entries."""

    def __init__(self, jobs_dir: Path, server: Server, session: ClientSession, local: Local) -> None:
        self._jobs_dir = jobs_dir
        self._server = server
        self._session = session
        self._local = local
        self._cache: dict[str, tuple[float, Upstream]] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LocalJobs:
        self._sweeper = asyncio.create_task(self._sweep(), name="job-cache-sweep")
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._sweeper is not None  # noqa: S101  set on entering
        self._sweeper.cancel()
        await asyncio.wait([self._sweeper])

    async def model_of(self, job_id: str) -> Upstream:
        """The model of a job. Raises :class:`Refused`: 404 without such a job, 400 without a model URL, 502."""
        now = asyncio.get_running_loop().time()
        entry = self._cache.get(job_id)
        if entry is not None and now < entry[0]:
            return entry[1]
        if not _JOB_ID.fullmatch(job_id):
            raise _unknown(job_id)
        info = await asyncio.to_thread(self._read, job_id) or await self._fetch(job_id)
        if not info.model.url:
            raise Refused(400, "model_url_required", f"The job '{job_id}' has no model URL.")
        upstream = await asyncio.to_thread(model_upstream, info.model)
        self._cache[job_id] = (now + self._local.job_cache_entry_ttl, upstream)
        return upstream

    def _read(self, job_id: str) -> JobInfo | None:
        file = self._jobs_dir / job_id / JOB_INFO
        try:
            with os.fdopen(open_private(file, os.O_RDONLY), "rb") as stream:
                return decode_json(stream.read(), JobInfo)
        except (OSError, UnsafePath, msgspec.MsgspecError) as error:
            if not isinstance(error, FileNotFoundError):
                logs.warning("Job file cannot be used", path=str(file), error=str(error))
            return None

    async def _fetch(self, job_id: str) -> JobInfo:
        authorization = self._server.own_authorization
        upstream = self._server.upstream
        try:
            async with self._session.get(
                upstream.url(self._server.target(f"{EVALUATIONS}/jobs/{job_id}")),
                **upstream.options({"Authorization": authorization} if authorization else {}),
            ) as answer:
                if answer.status == 404:
                    raise _unknown(job_id)
                answer.raise_for_status()
                job = msgspec.json.decode(await answer.read(), type=_Job)
        except (ClientError, TimeoutError, OSError, msgspec.MsgspecError) as error:
            raise bad_gateway(upstream.name, problem(error)) from error
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
            self._cache = {job_id: entry for job_id, entry in self._cache.items() if now < entry[0]}


def _unknown(job_id: str) -> Refused:
    return Refused(404, "resource_not_found", f"The evaluation job resource '{job_id}' was not found.")
