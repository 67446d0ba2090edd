"""What a failure of Inspect means to the user: one sentence for those with a known cause."""

from __future__ import annotations

import re
from collections.abc import Sequence

from evalhub_adapters import failures
from evalhub_common.adapter.errors import BenchmarkFailed, JobInvalid

INSTALL = "eval-hub-server adapters install inspect"
JUDGE_ADVICE = (
    "name the model that scores in parameters.judge_model, and its endpoint in parameters.judge_url if it is another one (its key "
    "comes from the environment variable EVALHUB_JUDGE_API_KEY); the name of the evaluated model lets it judge itself"
)
_KEY = re.compile(r"\b([A-Z]+(?:_[A-Z]+)*_API_KEY)\b")
_EXTRA = re.compile(r"inspect[-_]evals\[([\w-]+)\]")


def explain(error: BaseException, benchmark: str) -> BenchmarkFailed | None:
    """The failure that an exception means; None if its cause is unknown."""
    return explain_text(failures.text_of(error), benchmark, getattr(error, "data_sets", ()))


def explain_text(text: str, benchmark: str, data_sets: Sequence[str] = ()) -> BenchmarkFailed | None:
    """The failure that the text of an exception or of a log's error means; None if its cause is unknown."""
    if "docker" in text.lower() and "PrerequisiteError" in text:
        return JobInvalid(sandbox_missing(benchmark, "Docker cannot be used on this machine"))
    # The evaluated model has its key from the job: a variable is missing for another one.
    if _KEY.search(text):
        return judge_missing(benchmark)
    extra = _EXTRA.search(text)
    extra_hint = f" (the extra is inspect-evals[{extra[1]}])" if extra else ""
    return failures.explain_text(text, benchmark, data_sets, INSTALL, extra_hint)


def judge_missing(benchmark: str) -> JobInvalid:
    """The failure of a benchmark that is scored by a model that the job does not name."""
    return JobInvalid(f"benchmark {benchmark} is scored with the help of a model: {JUDGE_ADVICE}")


def sandbox_missing(benchmark: str, reason: str) -> str:
    """The sentence about a sandbox that the benchmark needs."""
    return (
        f"benchmark {benchmark} runs code or tools in Docker containers, and {reason}: install and start Docker with its "
        "plugin compose"
    )
