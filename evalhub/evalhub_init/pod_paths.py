"""Where a pod has what this program reads and writes. Each can be elsewhere, for runs outside of a pod."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from msgspec import Struct

from evalhub_init.errors import InitError
from evalhub_sidecar.durations import Duration

DEFAULT_TIMEOUT = Duration(600)


class Places(Struct, kw_only=True, frozen=True):
    """``data``: gets the files. ``secret``: has one file for each credential. ``metadata``: gets the commit."""

    data: Path
    secret: Path
    metadata: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Places:
        """The pod's, unless a variable says otherwise."""

        def place(variable: str, default: str) -> Path:
            return Path(environ.get(variable) or default)

        return cls(
            data=place("TEST_DATA_DIR", "/test_data"),
            secret=place("TEST_DATA_SECRET_DIR", "/var/run/secrets/test-data"),
            metadata=place("INIT_METADATA_PATH", "/run/init-metadata/.git-metadata"),
        )

    def credential(self, name: str) -> str:
        """The content of a file of the secret without the whitespace around it; empty if it is not there."""
        try:
            return (self.secret / name).read_text("utf-8").strip()
        except FileNotFoundError:
            return ""
        except (OSError, UnicodeDecodeError) as error:
            raise InitError(
                f"The credential '{name}' of the test data's secret cannot be read: {error}."
            ) from None

    def write_commit(self, commit: str) -> None:
        """Tell the sidecar which revision the data are of."""
        try:
            self.metadata.write_text(commit + "\n", "utf-8")
        except OSError as error:
            raise InitError(f"The revision cannot be written to {self.metadata}: {error.strerror}.") from None


def timeout_of(environ: Mapping[str, str], variable: str) -> Duration:
    """Raises :class:`InitError` for what is no duration, or none at all."""
    text = environ.get(variable, "").strip()
    try:
        timeout = Duration.parse(text) if text else DEFAULT_TIMEOUT
    except ValueError as error:
        raise InitError(f"{variable}: {error}.") from None
    if not timeout:
        raise InitError(f"{variable}: must be more than 0.")
    return timeout


def inside(data: Path, relative: str) -> Path:
    """Where a file of the source goes. Raises :class:`InitError` for a name that would lead out of ``data``."""
    parts = PurePosixPath(relative).parts
    if not parts or relative.startswith("/") or ".." in parts or "\0" in relative or "\\" in relative:
        raise InitError(
            f"The file name {relative!r} of the test data is not a relative path; rename the file."
        )
    return data.joinpath(*parts)


def clean_sub_path(text: str) -> str:
    """``sub_path`` without slashes at its ends. Raises :class:`InitError` if it leads out."""
    path = text.strip().strip("/")
    if ".." in path.split("/") or "\\" in path or "\0" in path:
        raise InitError(f"sub_path {text!r} leads out of the repository; give a path inside it.")
    return "/".join(part for part in path.split("/") if part not in ("", "."))


def make_parents(data: Path, file: Path) -> None:
    """Make the directories of a file below ``data``. Raises :class:`InitError`, such as for a full volume."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        name = os.path.relpath(file, data)
        raise InitError(f"The directory of '{name}' cannot be made: {error.strerror}.") from None
