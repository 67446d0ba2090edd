"""The parts of the job specification ``job.json`` that a pod's sidecar needs."""

from __future__ import annotations

from pathlib import Path

import msgspec
from msgspec import Struct

from evalhub_sidecar import logs
from evalhub_sidecar.errors import ConfigError


class Coordinates(Struct, kw_only=True, frozen=True):
    """Destination of the adapter's artifact."""

    oci_host: str = ""
    oci_repository: str = ""


class Oci(Struct, kw_only=True, frozen=True):
    """``exports.oci``."""

    coordinates: Coordinates = Coordinates()


class Exports(Struct, kw_only=True, frozen=True):
    """``exports``."""

    oci: Oci | None = None


class JobSpec(Struct, kw_only=True, frozen=True):
    """The job of this pod."""

    id: str = ""
    benchmark_index: int = 0
    callback_url: str = ""
    exports: Exports | None = None

    @property
    def registry(self) -> Coordinates | None:
        """None without an export to a registry."""
        oci = self.exports.oci if self.exports else None
        return oci.coordinates if oci and oci.coordinates.oci_host else None


def read_job_spec(file: Path) -> JobSpec:
    """An empty one without such a file, which every pod has. Raises :class:`ConfigError`."""
    try:
        spec = msgspec.json.decode(file.read_bytes(), type=JobSpec)
    except FileNotFoundError:
        logs.warning(
            "No job specification: events of all jobs are forwarded, registry requests are not",
            path=str(file),
        )
        return JobSpec()
    except OSError as error:
        raise ConfigError(f"{file}: the job's specification cannot be read: {error.strerror}.") from None
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: the job's specification cannot be used: {error}") from None
    if not spec.id:
        raise ConfigError(f"{file}: the job's specification has no id.")
    return spec
