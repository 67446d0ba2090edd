"""The configuration section ``local``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from msgspec import Meta, Struct

from evalhub_server.plugins import Limits, PluginContext, SettingsError, UnsafePath, safe_path

DEFAULT_JOBS_DIR = "/tmp/evalhub-jobs"  # noqa: S108  the released server's; used only if safe: JobsDir.ensure()
MIN_DEFAULT_PARALLEL = 4


class LocalSettings(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Section ``local``: adapters as processes of this computer."""

    jobs_dir: Annotated[
        str,
        Meta(
            description="Directory of job directories. Default: `jobs` in the data directory, else `/tmp/evalhub-jobs`.",
            examples=["/var/lib/evalhub/jobs"],
        ),
    ] = ""
    max_parallel: Annotated[
        int | None,
        Meta(
            description="Maximum number of adapters that run at the same time; further benchmarks wait in order of arrival, and tenants take turns. Default: the number of usable CPUs, at least 4.",
            examples=[4],
        ),
    ] = None
    max_parallel_per_provider: Annotated[
        int | None,
        Meta(
            description="Maximum number of adapters of one provider at the same time. Default: no limit.",
            examples=[2],
        ),
    ] = None
    max_parallel_per_model: Annotated[
        int | None,
        Meta(
            description="Maximum number of adapters against one model URL at the same time. Default: no limit.",
            examples=[1],
        ),
    ] = None
    allow_remote_commands: Annotated[
        bool,
        Meta(
            description="Accept providers with commands over REST although other computers can reach this server."
        ),
    ] = False
    cwd: Annotated[
        str,
        Meta(description="Working directory of adapters. Default: the server's.", examples=["/srv/adapters"]),
    ] = ""


def limits(settings: LocalSettings) -> Limits:
    """Return the limits on concurrent adapters. Raises :class:`SettingsError` for one below 1."""
    for key in ("max_parallel", "max_parallel_per_provider", "max_parallel_per_model"):
        value: int | None = getattr(settings, key)
        if value is not None and value < 1:
            raise SettingsError(
                f"local.{key}: must be 1 or more, is {value}; leave it out for the default, or write a larger number"
            )
    total = settings.max_parallel
    return Limits(
        total=max(MIN_DEFAULT_PARALLEL, usable_cpus()) if total is None else total,
        per_provider=settings.max_parallel_per_provider,
        per_model=settings.max_parallel_per_model,
    )


def jobs_dir(settings: LocalSettings, context: PluginContext) -> Path:
    """Return the absolute base directory of jobs. Raises :class:`SettingsError` if the setting is no path."""
    if settings.jobs_dir:
        return directory("local.jobs_dir", settings.jobs_dir)
    if context.data_dir is not None:
        return context.data_dir.expanduser().absolute() / "jobs"
    return Path(DEFAULT_JOBS_DIR)


def directory(key: str, text: str) -> Path:
    """Return an absolute path from a setting, with ``~`` expanded."""
    if "\0" in text:
        raise SettingsError(f"{key}: {text!r} is not a path; take the NUL character out")
    try:
        return Path(text).expanduser().absolute()
    except RuntimeError as error:
        raise SettingsError(f"{key}: {text!r}: {error}; write the path in full") from None


def followed(key: str, path: Path) -> Path:
    """Follow a link that the user has named explicitly. Raises :class:`SettingsError` if it is another user's."""
    if not path.is_symlink():
        return path
    try:
        return safe_path(path)
    except UnsafePath as error:
        raise SettingsError(f"{key}: {error} Set a directory of your own") from None
    except OSError as error:
        raise SettingsError(
            f"{key}: {path} cannot be followed: {error.strerror}; set another directory"
        ) from None


def usable_cpus() -> int:
    """Return the number of CPUs of this process: on Linux its affinity mask can be smaller than the machine."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
