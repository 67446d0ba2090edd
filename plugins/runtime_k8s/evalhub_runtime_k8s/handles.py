"""Handle of a benchmark: the names by which its objects are found again."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from evalhub_runtime_k8s.names import Names
from evalhub_server.plugins import Handle


class JobHandle(Struct, kw_only=True, frozen=True):
    """The objects of one attempt. ``uid`` is the Job's, empty if only other objects of it are left.

    ``job_id`` is the evaluation's.
    """

    namespace: str
    job_id: str
    job: str
    config_map: str
    secret: str
    uid: str = ""

    def plain(self) -> Handle:
        return msgspec.to_builtins(self)


def handle_for(names: Names, namespace: str, job_id: str, uid: str) -> JobHandle:
    return JobHandle(
        namespace=namespace,
        job_id=job_id,
        job=names.job,
        config_map=names.config_map,
        secret=names.secret,
        uid=uid,
    )


def parse(handle: Handle) -> JobHandle | None:
    """Parse a handle; None for an unknown format, perhaps of another runtime or a newer server."""
    try:
        return msgspec.convert(handle, JobHandle)
    except msgspec.ValidationError:
        return None
