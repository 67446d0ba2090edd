"""Where a pod has the sidecar's files. Each can be elsewhere, for runs outside of a pod."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

CONFIG = Path("/meta/sidecar_config.json")


class Places(Struct, kw_only=True, frozen=True):
    """``event_spool``: a directory in which events wait that the server could not take yet."""

    job_spec: Path
    docker_config: Path
    service_token: Path
    revision: Path
    event_spool: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Places:
        """The first two variables are the released server's."""

        def place(variable: str, default: str) -> Path:
            return Path(environ.get(variable) or default)

        return cls(
            job_spec=place("JOB_SPEC_PATH", "/meta/job.json"),
            docker_config=place("OCI_AUTH_CONFIG_PATH", "/etc/evalhub/.docker/config.json"),
            service_token=place("SERVICE_TOKEN_PATH", "/var/run/secrets/kubernetes.io/serviceaccount/token"),
            revision=place("INIT_METADATA_PATH", "/run/init-metadata/.git-metadata"),
            event_spool=place("EVENT_SPOOL_DIR", "/data/.evalhub-events"),
        )
