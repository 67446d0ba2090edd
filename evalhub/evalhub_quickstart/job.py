"""The evaluation that the job specification asks for, validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evalhub_common.adapter.job import read_num_examples, read_parameters
from evalhub_common.adapter.json_values import JsonObject
from evalhub_common.adapter.model import Model, read_model
from evalhub_quickstart.options import Options, read_options


@dataclass(frozen=True, kw_only=True)
class Job:
    """The evaluation to run; ``num_examples`` None means all samples."""

    model: Model
    options: Options
    num_examples: int | None


def read_job(document: JsonObject, benchmark_id: str, environ: Mapping[str, str]) -> Job:
    """Validate job.json and read the model's credentials.

    Raises:
        JobInvalid: the text names the field, its value and the allowed ones.
    """
    return Job(
        model=read_model(document.get("model"), environ),
        options=read_options(read_parameters(document), benchmark_id),
        num_examples=read_num_examples(document),
    )
