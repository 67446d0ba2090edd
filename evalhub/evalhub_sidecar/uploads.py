"""Uploads of the samples and artifacts that an adapter leaves on the pod's volume, after it has exited.

A native sidecar gets SIGTERM when the adapter has exited, so the files are complete then. The volume is lost with the pod:
uploads are repeated until the server accepts them or the termination grace period is over.
"""

from __future__ import annotations

import asyncio
import uuid
from functools import partial
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, urlsplit

from evalhub_common.adapter_files import NotAFile, names_below, open_regular
from evalhub_common.backoff import Backoff
from evalhub_sidecar import logs
from evalhub_sidecar.config import Samples
from evalhub_sidecar.headers import TRANSACTION_ID
from evalhub_sidecar.job_spec import JobSpec
from evalhub_sidecar.server import EVALUATIONS
from evalhub_sidecar.server_client import OpenBody, ServerClient
from evalhub_sidecar.spool import Answer, is_final

RETRY = Backoff(first_s=0.25, max_s=5.0, jitter=0.33)
MAX_REFUSED_ARTIFACTS = 20
"""So many names that the server refuses are tried; an adapter can leave any number of files."""
JSONL, OCTETS = "application/jsonl", "application/octet-stream"


class SampleUploads:
    """Uploads the files of the pod's own benchmark. Call :meth:`open` first, :meth:`run` when the adapter has exited."""

    def __init__(self, client: ServerClient, config: Samples, job: JobSpec) -> None:
        self._client = client
        self._samples = Path(config.path)
        self._artifacts = Path(config.artifacts_path) if config.artifacts_path else None
        self._attempt = config.attempt
        self._tenant = config.tenant
        prefix = urlsplit(job.callback_url).path.rstrip("/")
        self._target = f"{prefix}{EVALUATIONS}/jobs/{quote(job.id, safe='')}/benchmarks/{job.benchmark_index}"

    def open(self) -> None:
        """Create the directory for artifacts. The adapter may run as another user, so all may write to it."""
        if self._artifacts is None:
            return
        try:
            self._artifacts.mkdir()
            self._artifacts.chmod(0o777)  # mkdir applies the umask
        except FileExistsError:
            return  # the sidecar was restarted
        except OSError as error:
            logs.warning(
                "Directory of artifacts cannot be created", path=str(self._artifacts), error=str(error)
            )

    async def run(self, deadline_s: float) -> None:
        """Upload the samples, then the artifacts. Without samples the upload is empty: the server need not wait for them."""
        try:
            async with asyncio.timeout(max(deadline_s, 0.0)):
                if not await self._upload_samples():
                    return
                await self._upload_artifacts()
        except TimeoutError:
            logs.error("Samples or artifacts not uploaded in the termination grace period")

    async def _upload_samples(self) -> bool:
        """False if the server takes no files of this attempt."""
        opened = partial(_open, self._samples.parent, self._samples.name)
        answer = await self._put("samples", JSONL, opened)
        return answer is None or answer.status not in (404, 409)

    async def _upload_artifacts(self) -> None:
        directory, refused = self._artifacts, 0
        if directory is None:
            return
        for name in await asyncio.to_thread(list, names_below(directory)):
            target = f"artifacts?name={quote(name, safe='', errors='replace')}"
            answer = await self._put(target, OCTETS, partial(_open, directory, name))
            refused += answer is None or answer.status >= 400
            if refused >= MAX_REFUSED_ARTIFACTS:
                logs.error("Further artifacts not uploaded", refused=refused)
                return

    async def _put(self, what: str, media_type: str, open_body: OpenBody) -> Answer | None:
        """The server's final answer; None if the file cannot be read."""
        headers = [("Content-Type", media_type), (TRANSACTION_ID, str(uuid.uuid4()))]
        if self._tenant:
            headers.append(("X-Tenant", self._tenant))
        target = f"{self._target}/{what}{'&' if '?' in what else '?'}attempt={self._attempt}"
        for attempts, delay_s in enumerate(RETRY.delays(), 1):
            try:
                answer = await self._client("PUT", target, headers, open_body, limited=False)
            except (NotAFile, OSError) as error:
                logs.error("File of the adapter cannot be uploaded", target=target, error=str(error))
                return None
            if answer is not None and is_final(answer, attempts):
                log = logs.info if answer.status < 400 else logs.error
                log(
                    "File uploaded" if answer.status < 400 else "Upload refused",
                    target=target,
                    status=answer.status,
                )
                return answer
            if attempts == 1:
                logs.warning("Upload is retried", target=target, status=answer and answer.status)
            await asyncio.sleep(max(delay_s, min(answer.retry_after_s, RETRY.max_s) if answer else 0.0))
        raise AssertionError("the delays have no end")


def _open(directory: Path, name: str) -> bytes | BinaryIO:
    """The body of an upload; empty if there is no file."""
    return open_regular(directory, name) or b""
