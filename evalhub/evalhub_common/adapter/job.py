"""The job specification ``job.json``: the part that is needed to report anything, and the number of examples."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from evalhub_common.adapter.connection import Target, parse_url
from evalhub_common.adapter.errors import JobInvalid, JobSpecUnusable
from evalhub_common.adapter.json_values import JsonObject, as_object, describe, parse

SPEC_VARIABLE = "EVALHUB_JOB_SPEC_PATH"


@dataclass(frozen=True, kw_only=True)
class JobAddress:
    """The benchmark and job of this process, its callback URL and its directory."""

    job_id: str
    provider_id: str
    benchmark_id: str
    benchmark_index: int
    callback: Target
    directory: Path


def open_job(environ: Mapping[str, str]) -> tuple[JobAddress, JsonObject]:
    """Find and parse job.json.

    Returns:
        The address of the job, and the whole document.

    Raises:
        JobSpecUnusable: the file is missing, is not a JSON object, or lacks an identifying field.
    """
    name = environ.get(SPEC_VARIABLE)
    if not name:
        raise JobSpecUnusable(
            f"the environment variable {SPEC_VARIABLE} is not set. The EvalHub server sets it to the path of "
            "job.json when it starts this adapter; to run the adapter by hand, set it yourself."
        )
    path = Path(name).absolute()
    try:
        document = as_object(parse(path.read_bytes()))
    except OSError as error:
        raise JobSpecUnusable(
            f"cannot read the job specification {path}: {error.strerror or error}"
        ) from error
    except ValueError as error:
        raise JobSpecUnusable(f"the job specification {path} is not valid JSON: {error}") from error
    if document is None:
        raise JobSpecUnusable(f"the job specification {path} is not a JSON object")
    return _address(document, path), document


def read_parameters(document: JsonObject) -> JsonObject:
    """The benchmark's ``parameters``; empty without any. Raises JobInvalid if it is no object."""
    parameters = document.get("parameters")
    options = as_object(parameters) if parameters is not None else {}
    if options is None:
        raise JobInvalid(f"parameters is {describe(parameters)}: it must be an object")
    return options


def read_num_examples(document: JsonObject) -> int | None:
    """The limit on examples; None means all. Raises JobInvalid if it is no whole number from 1."""
    value = document.get("num_examples")
    if value is None:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise JobInvalid(f"num_examples is {describe(value)}: it must be a whole number from 1")
    return value


def _address(document: JsonObject, path: Path) -> JobAddress:
    def text(key: str) -> str:
        value = document.get(key)
        if not isinstance(value, str) or not value:
            raise JobSpecUnusable(f"in {path}, {key} is {describe(value)}: it must be a non-empty string")
        return value

    index = document.get("benchmark_index")
    if not isinstance(index, int) or isinstance(index, bool) or index < 0:
        raise JobSpecUnusable(
            f"in {path}, benchmark_index is {describe(index)}: it must be a whole number from 0"
        )
    try:
        callback = parse_url(text("callback_url"))
    except ValueError as error:
        raise JobSpecUnusable(f"in {path}, callback_url cannot be used: {error}") from error
    # The server lays a job out as <job dir>/meta/job.json.
    directory = path.parent.parent if path.parent.name == "meta" else path.parent
    return JobAddress(
        job_id=text("id"),
        provider_id=text("provider_id"),
        benchmark_id=text("benchmark_id"),
        benchmark_index=index,
        callback=callback,
        directory=directory,
    )
