"""Paths of a pod's files, each with an environment variable for runs outside of a pod."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

CONFIG = Path("/meta/sidecar_config.json")


class PodPaths(Struct, kw_only=True, frozen=True):
    """``event_spool`` is the directory of stored events."""

    job_spec: Path
    docker_config: Path
    service_token: Path
    revision: Path
    event_spool: Path

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> PodPaths:
        """The first two variables are the released server's."""

        def path(variable: str, default: str) -> Path:
            return Path(environ.get(variable) or default)

        return cls(
            job_spec=path("JOB_SPEC_PATH", "/meta/job.json"),
            docker_config=path("OCI_AUTH_CONFIG_PATH", "/etc/evalhub/.docker/config.json"),
            service_token=path("SERVICE_TOKEN_PATH", "/var/run/secrets/kubernetes.io/serviceaccount/token"),
            revision=path("INIT_METADATA_PATH", "/run/init-metadata/.git-metadata"),
            event_spool=path("EVENT_SPOOL_DIR", "/data/.evalhub-events"),
        )
