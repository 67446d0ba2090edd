"""What ``run`` reports before it submits: requirements of benchmarks that the endpoint or the machine may not meet."""

from __future__ import annotations

import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from typing import Any, cast

from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.model import COMPLETIONS_PATH, base_target
from evalhub_server.client import Client, ClientError
from evalhub_server.client.resources import Json
from evalhub_server.domain.requirements import requirement_texts, twin_text

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
        benchmarks: list[Json] = client.jobs.check(requests[0]).get("benchmarks", [])
    except ClientError:
        return []
    urls = {model["url"]: model["name"] for each in requests if (model := each["model"]).get("url")}
    lacking = _lacking(urls) if any(_LOGPROBS in b.get("requires", ()) for b in benchmarks) else None
    return list(dict.fromkeys(note for benchmark in benchmarks for note in _notes(benchmark, lacking)))


def _notes(benchmark: Json, lacking: list[str] | None) -> Iterator[str]:
    """The lines of a benchmark. ``lacking``: the endpoints without log-probabilities of prompts, None if that is unknown."""
    requires, twin = benchmark.get("requires", []), benchmark.get("generating_twin", "")
    if lacking is not None:
        requires = [name for name in requires if name != _LOGPROBS]
        if lacking and requires != benchmark.get("requires"):
            urls = ", ".join(lacking)
            yield (
                f"{benchmark['id']} cannot run: it needs the log-probabilities of prompts (completions with echo and logprobs),"
                f" which {urls} does not return{twin_text(twin)}."
            )
    for text in requirement_texts(requires, twin):
        yield f"{benchmark['id']} {text}."


def _lacking(models: dict[str, str]) -> list[str] | None:
    """The endpoints that return no log-probabilities of prompts; None if a probe failed."""
    answers = {url: returns_prompt_logprobs(url, name) for url, name in models.items()}
    return None if None in answers.values() else [url for url, answer in answers.items() if not answer]


def returns_prompt_logprobs(url: str, model: str) -> bool | None:
    """Whether an endpoint returns log-probabilities of a prompt's tokens; None if it cannot be reached or used from here."""
    body: Json = {
        "model": model,
        "prompt": "One two three four",
        "max_tokens": 1,
        "echo": True,
        "logprobs": 1,
    }
    headers = {"Content-Type": "application/json"}
    if key := os.environ.get("OPENAI_API_KEY"):
        headers["Authorization"] = f"Bearer {key}"
    try:
        target = base_target(url)
        query = f"?{target.query}" if target.query else ""
        request = urllib.request.Request(  # noqa: S310  http or https, see base_target
            f"{target.url}{COMPLETIONS_PATH}{query}", json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=PROBE_TIMEOUT_S) as response:  # noqa: S310
            answer: Any = json.load(response)
    except urllib.error.HTTPError as error:
        return False if error.code in (400, 404, 405, 422, 501) else None
    except (JobInvalid, OSError, http.client.HTTPException, ValueError):
        return None
    return len(_prompt_logprobs(answer)) > 1


def _prompt_logprobs(answer: Any) -> list[float]:
    """The log-probabilities of the prompt's tokens; a server that ignores ``echo`` returns at most one, of the answer."""
    try:
        found = cast("list[Any]", answer["choices"][0]["logprobs"]["token_logprobs"])
        return [value for value in found if isinstance(value, int | float)]
    except (KeyError, IndexError, TypeError):
        return []
