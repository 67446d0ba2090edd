"""What failures of frameworks mean to the user, where several frameworks have them: missing packages and data sets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from evalhub_common.adapter.errors import BenchmarkFailed, DataUnavailable, FrameworkMissing

_COLOUR = re.compile(r"\x1b\[\d+m")
_QUOTED = re.compile(r"""['"]([\w.-]+/[\w.-]+|[\w.-]+)['"]""")
_MODULE = re.compile(r"No module named '([\w.]+)'")
_GATED = ("gated", "GatedRepoError", "must be authenticated")
_SCRIPTED = ("Dataset scripts are no longer supported", "trust_remote_code")
_UNREACHABLE = (
    "OfflineModeIsEnabled",
    "ffline mode is enabled",
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


def text_of(error: BaseException) -> str:
    """The types and messages of an exception and of those that led to it."""
    return _COLOUR.sub("", " ".join(f"{type(cause).__name__}: {cause}" for cause in _causes(error)))


def explain_text(
    text: str, benchmark: str, data_sets: Sequence[str], install: str, package_hint: str = ""
) -> BenchmarkFailed | None:
    """The failure that the text of exceptions means; None if its cause is unknown.

    ``data_sets`` are those of the benchmark, for messages that do not name one; ``install`` is the command that repairs the
    environment, ``package_hint`` follows the name of a missing package.
    """
    module = _MODULE.search(text)
    if module:
        return FrameworkMissing(
            f"benchmark {benchmark} needs the Python package '{module[1].partition('.')[0]}'{package_hint}, which this "
            f"environment does not have. Install it, or repair a managed environment with: {install}"
        )
    name = _data_set(text, data_sets)
    if any(sign in text for sign in _GATED):
        return DataUnavailable(
            f"the data set{name} of benchmark {benchmark} is gated: request access on its page at https://huggingface.co, and "
            "set HF_TOKEN in the environment of the server or of the provider"
        )
    if any(sign in text for sign in _SCRIPTED):
        return DataUnavailable(
            f"the data set of benchmark {benchmark} needs a loading script, which this version of the package datasets does "
            "not run"
        )
    if any(sign in text for sign in _UNREACHABLE):
        return DataUnavailable(
            f"the data set{name} of benchmark {benchmark} could not be downloaded from the Hugging Face Hub and is not in the "
            "local cache. Check the network and proxy, HF_HUB_OFFLINE and HF_HOME, or run the benchmark once on a machine with "
            "access and copy its cache"
        )
    if any(sign in text for sign in _MISSING):
        return DataUnavailable(
            f"the data set{name} of benchmark {benchmark} does not exist on the Hugging Face Hub, or needs a login: check "
            "HF_TOKEN"
        )
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def _data_set(text: str, data_sets: Sequence[str]) -> str:
    """The data set that a message names, else the first one of the benchmark; with a space before it, or empty."""
    named = [match for match in _QUOTED.findall(text) if match in data_sets] or list(data_sets)
    return f" '{named[0]}'" if named else ""
