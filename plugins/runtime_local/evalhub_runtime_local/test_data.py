"""Test data of an attempt: fetched by the init program, in a process of the attempt, before the adapter starts."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path

from evalhub_runtime_local.attempt_files import Attempt, write_private
from evalhub_server.plugins import LaunchError, TestDataRef, fetch_variables, make_private

DIRECTORY = "EVALHUB_TEST_DATA_DIR"
_SOURCES = (
    "TEST_DATA_GIT_URL",
    "TEST_DATA_GIT_REF",
    "TEST_DATA_GIT_SUBPATH",
    "TEST_DATA_HF_REPO_ID",
    "TEST_DATA_HF_REVISION",
    "TEST_DATA_HF_SUBPATH",
    "TEST_DATA_S3_BUCKET",
    "TEST_DATA_S3_KEY",
)
_SERVERS_OWN = ("PATH", "PYTHONPATH", "PYTHONHOME")
"""Variables with which the server's Python works; those of the adapter may belong to another one."""


def prepare_fetch(ref: TestDataRef | None, attempt: Attempt) -> str:
    """Write the script that fetches the test data into the attempt's directory, and return its path; empty without any.

    The script is a private file, since a URL may contain credentials, which other users could read in arguments.

    Raises:
        LaunchError: the source needs a cluster.
        OSError: a file cannot be written.
    """
    if ref is None:
        return ""
    _check(ref)
    for number in range(1, attempt.number):
        earlier = Attempt(directory=attempt.directory, number=number)
        shutil.rmtree(earlier.test_data, ignore_errors=True)
    make_private(Path(attempt.test_data))
    variables = {
        **{name: os.environ.get(name) for name in _SERVERS_OWN},
        **dict.fromkeys(_SOURCES),
        **fetch_variables(ref),
        "TEST_DATA_DIR": attempt.test_data,
        "TEST_DATA_SECRET_DIR": None,
        "TEST_DATA_CREDENTIALS": "environment",
        "TEST_DATA_REPORT": "1",
        "INIT_METADATA_PATH": attempt.revision_file,
        "TERMINATION_MESSAGE_PATH": attempt.fetch_error,
    }
    lines = [
        f"unset {name}" if value is None else f"export {name}={shlex.quote(value)}"
        for name, value in variables.items()
    ]
    # -P: a file in the working directory must not replace a module.
    lines.append(f"exec {shlex.quote(sys.executable)} -P -m evalhub_init")
    text = "\n".join(lines) + "\n"
    if "\0" in text:
        raise LaunchError("test_data_ref contains a NUL character. Remove it and submit the job again.")
    write_private(attempt.fetch_script, text.encode("utf-8", "surrogateescape"))
    return attempt.fetch_script


def _check(ref: TestDataRef) -> None:
    if ref.pvc is not None:
        raise LaunchError(
            "test_data_ref.pvc is a volume of a Kubernetes cluster, which this server does not run in. Use s3, git or hf."
        )
    if ref.git is not None and ref.git.secret_ref:
        raise LaunchError(
            "test_data_ref.git.secret_ref names a Kubernetes secret, which this server does not have. "
            "Leave it out, and put the credentials into an https URL."
        )
