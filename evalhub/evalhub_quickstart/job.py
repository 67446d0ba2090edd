"""The evaluation that the job specification asks for, validated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from evalhub_common.adapter.job import read_num_examples, read_parameters
from evalhub_common.adapter.json_values import JsonObject
from evalhub_common.adapter.model import Model, read_model
from evalhub_quickstart.options import Options, read_options, unknown_names


@dataclass(frozen=True, kw_only=True)
class Job:
    """The evaluation to run.

    ``num_examples`` None means all samples; ``ignored`` are the names of unknown parameters.
    """

    model: Model
    options: Options
    num_examples: int | None
    ignored: tuple[str, ...]


def read_job(document: JsonObject, benchmark_id: str, environ: Mapping[str, str]) -> Job:
    """Validate job.json and read the model's credentials.

    Raises:
        JobInvalid: the text names the field, its value and the allowed ones.
    """
    parameters = read_parameters(document)
    return Job(
        model=read_model(document.get("model"), environ),
        options=read_options(parameters, benchmark_id),
        num_examples=read_num_examples(document),
        ignored=unknown_names(parameters, benchmark_id),
    )
