"""What the sidecar of a pod has to know of ``job.json``."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from evalhub_sidecar import logs
from evalhub_sidecar.errors import ConfigError


class Coordinates(Struct, kw_only=True, frozen=True):
    """Where the adapter's artifact goes."""

    oci_host: str = ""
    oci_repository: str = ""


class Oci(Struct, kw_only=True, frozen=True):
    """``exports.oci``."""

    coordinates: Coordinates = Coordinates()


class Exports(Struct, kw_only=True, frozen=True):
    """``exports``."""

    oci: Oci | None = None


class JobSpec(Struct, kw_only=True, frozen=True):
    """The job that this pod is for."""

    id: str = ""
    exports: Exports | None = None

    @property
    def registry(self) -> Coordinates | None:
        """None if the job exports nothing to a registry."""
        oci = self.exports.oci if self.exports else None
        return oci.coordinates if oci and oci.coordinates.oci_host else None


def read_job_spec(file: Path) -> JobSpec:
    """An empty one if there is no such file, which no pod is without. Raises :class:`ConfigError`."""
    try:
        spec = msgspec.json.decode(file.read_bytes(), type=JobSpec)
    except FileNotFoundError:
        logs.warning(
            "no job specification: events of any job are passed, and nothing to a registry", path=str(file)
        )
        return JobSpec()
    except OSError as error:
        raise ConfigError(f"{file}: the job's specification cannot be read: {error.strerror}.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the job's specification cannot be used: {error}") from None
    if not spec.id:
        raise ConfigError(f"{file}: the job's specification has no id.")
    return spec
