"""What a failure of lm-evaluation-harness means to the user: one sentence for those with a known cause."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from evalhub_common.adapter.errors import BenchmarkFailed, DataUnavailable, FrameworkMissing

INSTALL = "eval-hub-server adapters install lm_evaluation_harness"
_QUOTED = re.compile(r"""['"]([\w.-]+/[\w.-]+|[\w.-]+)['"]""")
_MODULE = re.compile(r"No module named '([\w.]+)'")
_COLOUR = re.compile(r"\x1b\[\d+m")
_SCRIPT = re.compile(r"Couldn't find a module script at .*?(\w+)\.py")
_RESOURCE = re.compile(r"Resource \W*([\w.]+)\W* not found")


def explain(error: BaseException, task: str, data_sets: Sequence[str]) -> BenchmarkFailed | None:
    """The failure that an exception means; None if its cause is unknown.

    ``data_sets`` are those of the task, for messages that do not name one.
    """
    text = _COLOUR.sub("", " ".join(f"{type(cause).__name__}: {cause}" for cause in _causes(error)))
    module = _MODULE.search(text)
    if module:
        return FrameworkMissing(
            f"benchmark {task} needs the Python package '{module[1].partition('.')[0]}', which this environment does not "
            f"have. Install it, or repair a managed environment with: {INSTALL}"
        )
    resource = _RESOURCE.search(text)
    if resource:
        return DataUnavailable(
            f"benchmark {task} needs '{resource[1]}' of NLTK, which could not be downloaded. With a network run: {INSTALL}"
        )
    script = _SCRIPT.search(text)
    if script:
        return DataUnavailable(
            f"benchmark {task} needs the metric '{script[1]}' of the package evaluate, which could not be downloaded from the "
            "Hugging Face Hub. Check the network, HF_HUB_OFFLINE and HF_HOME"
        )
    name = _data_set(text, data_sets)
    if "gated" in text or "GatedRepoError" in text or "must be authenticated" in text:
        return DataUnavailable(
            f"the data set{name} of benchmark {task} is gated: request access on its page at https://huggingface.co, and "
            "set HF_TOKEN in the environment of the server or of the provider"
        )
    if "Dataset scripts are no longer supported" in text or "trust_remote_code" in text:
        return DataUnavailable(
            f"the data set of benchmark {task} needs a loading script, which this version of the package datasets does not run"
        )
    if any(sign in text for sign in _UNREACHABLE):
        return DataUnavailable(
            f"the data set{name} of benchmark {task} could not be downloaded from the Hugging Face Hub and is not in the local "
            "cache. Check the network and proxy, HF_HUB_OFFLINE and HF_HOME, or run the benchmark once on a machine with access "
            "and copy its cache"
        )
    if any(sign in text for sign in _MISSING):
        return DataUnavailable(
            f"the data set{name} of benchmark {task} does not exist on the Hugging Face Hub, or needs a login: check HF_TOKEN"
        )
    return None


_UNREACHABLE = (
    "OfflineModeIsEnabled",
    "Offline mode is enabled",
    "Couldn't reach",
    "LocalEntryNotFoundError",
    "Couldn't find cache for",
    "MaxRetryError",
    "ConnectionError",
    "ConnectTimeout",
    "ConnectError",
    "NameResolutionError",
    "Cannot send a request",
)
_MISSING = ("DatasetNotFoundError", "RepositoryNotFoundError", "doesn't exist on the Hub", "404 Client Error")


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _data_set(text: str, data_sets: Sequence[str]) -> str:
    """The data set that a message names, else the first one of the task; with a space before it, or empty."""
    named = [match for match in _QUOTED.findall(text) if match in data_sets] or list(data_sets)
    return f" '{named[0]}'" if named else ""
