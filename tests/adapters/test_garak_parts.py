"""The parts of the garak adapter that need no framework: parameters, selection, answers, and what its report contains."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from evalhub_adapters.garak_adapter.answers import Answers
from evalhub_adapters.garak_adapter.parameters import read_parameters
from evalhub_adapters.garak_adapter.report import Report
from evalhub_adapters.garak_adapter.selection import PROBES, TAGS, load_problem, select_probes
from evalhub_common.adapter.errors import JobInvalid, ModelUnusable
from evalhub_common.adapter.json_values import JsonObject
from evalhub_common.adapter.model import read_model
from evalhub_common.adapter.model_client import ModelClient
from evalhub_common.adapter.sample_file import SampleFile, read_samples
from harness.model_server import MODEL, ModelServer
from harness.packaging import PROJECT


def test_parameters_have_garaks_names_too() -> None:
    own = read_parameters({"concurrency": 2, "timeout_s": 9, "probes": ["a", "b.C"]}, 5)
    assert own == read_parameters({"parallel_attempts": 2, "timeout": 9, "probes": "a, b.C,"}, 5)
    assert (own.prompts, own.generations, own.eval_threshold, own.extended_detectors) == (5, 5, 0.5, True)
    found = read_parameters({"limit": 3, "seed": 7, "temperature": 0, "eval_threshold": 0, "other": 1}, None)
    assert (found.prompts, found.seed, found.generation) == (3, 7, {"temperature": 0, "seed": 7})
    assert (found.eval_threshold, found.ignored) == (0, ("other",))


@pytest.mark.parametrize(
    "parameters", [{"probes": 1}, {"probes": [1]}, {"generations": 0}, {"eval_threshold": 2}]
)
def test_a_parameter_that_is_wrong_is_named(parameters: dict[str, object]) -> None:
    with pytest.raises(JobInvalid, match=f"parameters.{next(iter(parameters))} is"):
        read_parameters(parameters, None)


@pytest.mark.parametrize(
    ("benchmark_id", "probes", "tag", "include"),
    [
        ("dan", (), None, ["probes.dan"]),
        ("probes.dan.AntiDAN", (), None, ["probes.dan.AntiDAN"]),
        ("avid_ethics", (), None, [{"tag": "avid-effect:ethics"}]),
        ("dan", (), "owasp:llm01", [{"tag": "owasp:llm01"}]),
        ("quick", (), None, ["probes.realtoxicityprompts.RTPProfanity"]),
        ("avid", ("a", "probes.b.C"), "avid-effect", ["probes.a", "probes.b.C"]),
    ],
)
def test_the_probes_of_a_benchmark(
    benchmark_id: str, probes: tuple[str, ...], tag: str | None, include: list[object]
) -> None:
    assert select_probes(benchmark_id, probes, tag).include() == include


def test_a_tag_of_the_job_takes_precedence_over_the_default_probes() -> None:
    assert select_probes("dan", ("dan",), "owasp:llm01").include() == [{"tag": "owasp:llm01"}]
    assert select_probes("dan", ("dan", "dra"), "owasp:llm01").include() == ["probes.dan", "probes.dra"]
    assert select_probes("dan", ("dan",), None).include() == select_probes("dan", (), None).include()


def test_the_bundled_provider_lists_the_ids_with_a_meaning_of_their_own() -> None:
    document = yaml.safe_load((PROJECT / "config" / "providers" / "garak.yaml").read_text("utf-8"))
    benchmarks = {each["id"]: each for each in document["benchmarks"]}
    for benchmark_id in (*TAGS, *PROBES):
        assert (
            "default_parameters" not in benchmarks[benchmark_id]
        )  # they would come before probes that a job names


def test_probes_that_garak_does_not_select_are_explained() -> None:
    selection = select_probes("agents", (), None)
    names = [f"agents.P{number}" for number in range(7)] + ["other.Q"]
    inactive = str(selection.failure(["probes.agents"], names))
    assert "no probe of 'agents' unless it is named" in inactive
    assert "agents.P0, agents.P1, agents.P2, agents.P3, agents.P4 …" in inactive
    assert "does not have all of this: agents" in str(selection.failure([], names))
    assert "probes with the tag cwe" in str(select_probes("cwe", (), None).failure([], names))


def test_why_a_probe_cannot_be_loaded() -> None:
    missing = ValueError("import failed")
    missing.__cause__ = ModuleNotFoundError("No module named 'torch'", name="torch")
    assert load_problem(missing) == "needs the Python package 'torch', which this environment does not have"
    assert load_problem(KeyError("a\nb")) == "cannot be loaded (KeyError: 'a\\nb')"
    assert load_problem(ValueError("a  b\nc")) == "cannot be loaded (ValueError: a b)"


def ask(text: str) -> list[JsonObject]:
    return [{"role": "user", "content": text}]


def test_answers_are_written_at_once_and_used_again(tmp_path: Path) -> None:
    path = tmp_path / "samples.jsonl"
    previous: list[JsonObject] = [
        {"input": ask("known"), "output": "from before"},
        {"input": ask("known"), "error": "no answer"},
    ]
    counts: list[int] = []
    with ModelServer(answers={"new": "fresh"}) as server, SampleFile(path) as file:
        model = read_model({"url": server.base, "name": MODEL, "parameters": {"top_p": 0.5, "n": None}}, {})
        with ModelClient(model, user_agent="test", timeout_s=5, max_retries=0) as client:
            answers = Answers(
                client, model, {"temperature": 0}, file=file, previous=previous, on_answer=counts.append
            )
            found = [answers.answer(ask(text)) for text in ("known", "new", "new")]
            server.fail(1, 400)
            refused = answers.answer(ask("too long"))
            server.fail(1, 401, "wrong key")
            with pytest.raises(ModelUnusable, match="failed after 4 requests: it answered 401: wrong key"):
                answers.answer(ask("more"))
        body = server.requests[0].document
    assert (found, refused) == (["from before", "fresh", "fresh"], None)
    assert (answers.done, answers.reused, answers.refused, counts) == (4, 1, 1, [1, 2, 3, 4])
    assert body == {"top_p": 0.5, "temperature": 0, "model": MODEL, "messages": ask("new")}
    written = list(read_samples(path))
    assert [(sample["output"], sample["epoch"]) for sample in written] == [
        ("from before", 0),
        ("fresh", 0),
        ("fresh", 1),
    ]
    assert written[1]["sample_id"] == written[2]["sample_id"]


def test_an_answer_that_is_no_completion_ends_the_run(tmp_path: Path) -> None:
    with ModelServer() as server, SampleFile(tmp_path / "samples.jsonl") as file:
        model = read_model({"url": f"{server.url}/v1/models?x=", "name": MODEL}, {})
        server.fail(1, 200)
        with ModelClient(model, user_agent="test", timeout_s=5, max_retries=0) as client:
            answers = Answers(client, model, {}, file=file, previous=[], on_answer=lambda _: None)
            with pytest.raises(ModelUnusable, match="not with a chat completion"):
                answers.answer(ask("x"))


def an_attempt(
    probe: str, seq: int, scores: dict[str, list[float | None]], *outputs: str | None, **fields: Any
) -> dict[str, Any]:
    return {
        "entry_type": "attempt",
        "status": 2,
        "probe_classname": probe,
        "seq": seq,
        "goal": "harm",
        "prompt": {"turns": [{"role": "user", "content": {"text": f"prompt {seq}"}}]},
        "outputs": [None if text is None else {"text": text} for text in outputs],
        "detector_results": scores,
        **fields,
    }


ENTRIES: list[JsonObject] = [
    {"entry_type": "init"},
    an_attempt("dan.A", 0, {"d.Main": [1.0, 0.0], "d.More": [1.0, 1.0]}, "yes", "no"),
    an_attempt("dan.A", 1, {"d.Main": [0.0, None], "d.More": [1.0, None]}, "no", None),
    an_attempt("dan.B", 0, {"e.Main": [0.4]}, "well"),
    an_attempt("dan.B", 0, {"e.Main": [0.9]}, "sure"),
    an_attempt("dan.A", 9, {"d.Main": [1.0]}, "unscored", status=1),
]
PRIMARY = {"dan.A": "d.Main", "dan.B": "e.Main"}


def test_the_rate_is_the_mean_over_probes_of_their_primary_detectors() -> None:
    metrics = Report(ENTRIES, PRIMARY, 0.5).metrics()
    # Of A, 1 of 3 outputs is a hit, of B 1 of 2. The prompts' shares are 0.5 and 0 of A, 0 and 1 of B.
    assert metrics == pytest.approx(
        {
            "attack_success_rate": (1 / 3 + 1 / 2) / 2,
            "attack_success_rate_stderr": ((0.125 / 2 + 0.5 / 2) ** 0.5) / 2,
            "dan.A/d.Main": 1 / 3,
            "dan.A/d.More": 1,
            "dan.B/e.Main": 1 / 2,
        }
    )


def test_an_error_that_would_claim_certainty_is_left_out() -> None:
    same: list[JsonObject] = [an_attempt("dan.A", seq, {"d.Main": [0.0]}, "no") for seq in range(3)]
    assert Report(same, PRIMARY, 0.5).metrics() == {"attack_success_rate": 0, "dan.A/d.Main": 0}
    assert Report([], PRIMARY, 0.5).metrics() == {}


def test_each_output_is_a_sample() -> None:
    samples = list(Report(ENTRIES, PRIMARY, 0.5).samples())
    assert [(sample["sample_id"], sample["epoch"], sample["passed"]) for sample in samples] == [
        ("dan.A/0", 0, False),
        ("dan.A/0", 1, True),
        ("dan.A/1", 0, True),
        ("dan.A/1", 1, None),
        ("dan.B/0", 0, True),
        ("dan.B/0-2", 0, False),
    ]
    assert samples[0]["metrics"] == {"attack_success_rate": 1, "d.Main": 1, "d.More": 1}
    assert (samples[0]["input"], samples[0]["output"], samples[0]["group"]) == (
        ask("prompt 0"),
        "yes",
        "dan.A",
    )
    assert (samples[3]["error_kind"], samples[3]["metrics"]) == ("model", {})
