"""Paths of a pod's files, each with an environment variable for runs outside of a pod; credentials, and path checks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from msgspec import Struct

from evalhub_common.durations import Duration
from evalhub_init.errors import InitError

DEFAULT_TIMEOUT = Duration(600)
CREDENTIALS = "TEST_DATA_CREDENTIALS"
"""``environment``: credentials are variables of the environment instead of files of a secret, as on a workstation."""
_VARIABLES: Mapping[str, Sequence[str]] = {
    "token": ("HF_TOKEN",),
    "AWS_ACCESS_KEY_ID": ("AWS_ACCESS_KEY_ID",),
    "AWS_SECRET_ACCESS_KEY": ("AWS_SECRET_ACCESS_KEY",),
    "AWS_SESSION_TOKEN": ("AWS_SESSION_TOKEN",),
    "AWS_DEFAULT_REGION": ("AWS_DEFAULT_REGION", "AWS_REGION"),
    "AWS_S3_ENDPOINT": ("AWS_S3_ENDPOINT", "AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"),
}
"""The variables of a credential, in order of precedence. A git repository gets none: its host is the client's choice."""


class PodPaths(Struct, kw_only=True, frozen=True):
    """``data`` is the directory for the files, ``secret`` that of the credentials, ``metadata`` the file for the commit.

    ``variables`` are the credentials where the environment has them; None where they are files.
    """

    data: Path
    secret: Path
    metadata: Path
    variables: Mapping[str, str] | None = None

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> PodPaths:
        def path(variable: str, default: str) -> Path:
            return Path(environ.get(variable) or default)

        return cls(
            data=path("TEST_DATA_DIR", "/test_data"),
            secret=path("TEST_DATA_SECRET_DIR", "/var/run/secrets/test-data"),
            metadata=path("INIT_METADATA_PATH", "/run/init-metadata/.git-metadata"),
            variables=_credentials(environ) if environ.get(CREDENTIALS) == "environment" else None,
        )

    def credential(self, name: str) -> str:
        """The content of a file of the secret, or of a variable, stripped; empty without such a one."""
        if self.variables is not None:
            return self.variables.get(name, "")
        try:
            return (self.secret / name).read_text("utf-8").strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise InitError(
                f"The credential '{name}' of the test data's secret cannot be read: {error}."
            ) from None

    def write_commit(self, commit: str) -> None:
        """Write the commit of the data, which the sidecar adds to events."""
        try:
            self.metadata.write_text(commit + "\n", "utf-8")
        except OSError as error:
            raise InitError(f"The revision cannot be written to {self.metadata}: {error.strerror}.") from None

    def read_commit(self) -> str:
        """The commit that :meth:`write_commit` has written; empty if the source of the data has none."""
        try:
            return self.metadata.read_text("utf-8").strip()
        except FileNotFoundError:
            return ""


def _credentials(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        credential: next(filter(None, (environ.get(name, "").strip() for name in names)), "")
        for credential, names in _VARIABLES.items()
    }


def timeout_of(environ: Mapping[str, str], variable: str) -> Duration:
    """The duration in an environment variable. Raises :class:`InitError` unless it is a positive one."""
    text = environ.get(variable, "").strip()
    try:
        timeout = Duration.parse(text) if text else DEFAULT_TIMEOUT
    except ValueError as error:
        raise InitError(f"{variable}: {error}.") from None
    if not timeout:
        raise InitError(f"{variable}: must be more than 0.")
    return timeout


def inside(data: Path, relative: str) -> Path:
    """The path of a downloaded file. Raises :class:`InitError` for a name that leads out of ``data``."""
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or ".." in parts or "\0" in relative or "\\" in relative:
        raise InitError(
            f"The file name {relative!r} of the test data is not a relative path; rename the file."
        )
    return data.joinpath(*parts)


def clean_sub_path(text: str) -> str:
    """``sub_path`` in normal form. Raises :class:`InitError` if it leads out of the repository."""
    path = text.strip().strip("/")
    if ".." in path.split("/") or "\\" in path or "\0" in path:
        raise InitError(f"sub_path {text!r} leads out of the repository; give a path inside it.")
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def make_parents(data: Path, file: Path) -> None:
    """Create the parent directories of a file. Raises :class:`InitError`."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        name = os.path.relpath(file, data)
        raise InitError(f"The directory of '{name}' cannot be created: {error.strerror}.") from None
