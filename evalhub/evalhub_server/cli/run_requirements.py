"""What ``run`` reports before it submits: requirements of benchmarks that the endpoint or the machine may not meet."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evalhub_common.adapter.errors import BenchmarkFailed
from evalhub_common.adapter.model import read_model
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.model_probe import probe_prompt_logprobs
from evalhub_server import __version__
from evalhub_server.client import Client, ClientError
from evalhub_server.client.resources import Json
from evalhub_server.domain.requirements import open_requirements, requirement_texts, twin_text

PROBE_TIMEOUT_S = 10.0
_LOGPROBS = "prompt_logprobs"


def requirement_notes(client: Client, requests: Sequence[Json]) -> list[str]:
    """A line for each requirement of the jobs that may not be met.

    The endpoints are probed if a benchmark needs log-probabilities of prompts. Empty if the server is the released one,
    which does not know requirements, or refuses the jobs.
    """
    if not requests:
        return []
    try:  # all jobs have the same benchmarks
        checked = client.jobs.check(requests[0])
    except ClientError:
        return []
    benchmarks: list[Json] = checked.get("benchmarks", [])
    probes: list[_Probed] = []
    if any(_LOGPROBS in benchmark.get("requires", ()) for benchmark in benchmarks):
        models = {repr(model): model for each in requests if (model := each["model"]).get("url")}
        probes = [_probe(model) for model in models.values()]
    notes = [note for benchmark in benchmarks for note in _notes(benchmark, checked["runtime"], probes)]
    return list(dict.fromkeys([*(each.fault for each in probes if each.fault), *notes]))


@dataclass(frozen=True)
class _Probed:
    """What an endpoint returned. ``has_logprobs`` is None if it cannot be used from here; ``fault`` is then a sentence about it."""

    url: str
    has_logprobs: bool | None
    fault: str = ""


def _probe(model: Json) -> _Probed:
    """Probe an endpoint as the adapters do."""
    url: str = model["url"]
    try:
        found = read_model(model, os.environ)
        agent = f"eval-hub-server/{__version__}"
        with ModelClient(found, user_agent=agent, timeout_s=PROBE_TIMEOUT_S, max_retries=0) as client:
            return _Probed(url, probe_prompt_logprobs(client, found) is None)
    except BenchmarkFailed as error:
        end = "" if str(error).endswith((".", "?")) else "."
        return _Probed(url, None, f"from this computer, {error}{end}")


def _notes(benchmark: Json, runtime: str, probes: Sequence[_Probed]) -> Iterator[str]:
    """The lines of a benchmark; ``runtime`` is the server's, ``probes`` are those of the endpoints."""
    if benchmark.get("runnable") is False:
        provider = benchmark["provider_id"]
        yield f"{benchmark['id']} will fail to start: the provider '{provider}' has no adapter for the runtime '{runtime}'."
        return
    has_data = bool(benchmark.get("test_data_ref") or benchmark.get("test_data_path"))
    requires = open_requirements(
        benchmark.get("requires", []), benchmark.get("parameters", {}), has_data=has_data
    )
    twin = benchmark.get("generating_twin", "")
    if _LOGPROBS in requires and probes and all(each.has_logprobs is not None for each in probes):
        lacking = [each.url for each in probes if not each.has_logprobs]
        requires.remove(_LOGPROBS)
        if lacking:
            yield (
                f"{benchmark['id']} cannot run: it needs the log-probabilities of prompts (completions with echo and logprobs),"
                f" which {', '.join(lacking)} does not return{twin_text(twin)}."
            )
    for text in requirement_texts(requires, twin):
        yield f"{benchmark['id']} {text}."
