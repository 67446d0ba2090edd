"""The data directory: created if it is missing, and refused if other users can change what is in it."""

from __future__ import annotations

import os
from pathlib import Path

from evalhub_common.private_paths import UnsafePath, check_directory, make_private, safe_path
from evalhub_server.errors import StartupError


def prepare_data_dir(data_dir: Path, *, shared: bool) -> None:
    """Create the directory, private to this user, or check an existing one.

    The server runs commands of jobs and providers that it finds there. ``shared`` permits the group of a mounted volume.

    Raises:
        StartupError: it cannot be created, or other users can write to it.
    """
    _check(data_dir, shared=shared, create=True)


def check_data_dir(data_dir: Path, *, shared: bool) -> None:
    """Check as :func:`prepare_data_dir` does, but create nothing; a missing directory is no error."""
    _check(data_dir, shared=shared, create=False)


def _check(data_dir: Path, *, shared: bool, create: bool) -> None:
    try:
        path = safe_path(data_dir, shared=shared)
        if create:
            make_private(path)
        elif not os.path.lexists(path):
            return
        check_directory(path, shared=shared)
    except UnsafePath as error:
        raise StartupError(
            f"--data-dir {data_dir}: what is stored there makes the server run commands, so only its own user and root may "
            f"write there. Give --data-dir a directory of your own, such as one in your home directory. {error}"
        ) from None
    except OSError as error:
        raise StartupError(
            f"--data-dir {data_dir}: cannot be {'created' if create else 'examined'}: {error.strerror}. Give --data-dir another directory."
        ) from None
