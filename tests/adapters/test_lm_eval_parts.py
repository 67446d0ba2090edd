"""Parts of the adapter for lm-evaluation-harness that need no installation of it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from evalhub_adapters.lm_eval_adapter.index import directories, names_in, task_files
from evalhub_adapters.lm_eval_adapter.parameters import read_parameters
from evalhub_adapters.lm_eval_adapter.problems import explain
from evalhub_adapters.lm_eval_adapter.resources import check_resources
from evalhub_adapters.lm_eval_adapter.twins import generating_twin
from evalhub_common.adapter.errors import JobInvalid


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("task: gsm8k\ndataset_path: x\n", {"gsm8k"}),
        ('"task": "aclue_x"  # comment\n', {"aclue_x"}),
        ("group: mmlu\ntask:\n  - mmlu_stem\n", {"mmlu"}),
        ("tag:\n  - math\n  - 'word problems'\ntask: a\n", {"math", "word", "problems", "a"}),
        ("tag: [one, two]\n", {"one", "two"}),
        ("description: 'task: no'\n  task: nested\n", set()),
    ],
)
def test_the_names_that_a_file_defines(text: str, names: set[str]) -> None:
    assert names_in(text) == names


def test_the_directories_of_a_task_leave_out_those_below_others(tmp_path: Path) -> None:
    for name, text in {
        "a/_template": "tag: t\n",
        "a/b/x.yaml": "task: x\ntag: t\n",
        "c/y.yaml": "task: y\n",
        "c/utils.py": "task: no\n",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    files = task_files(tmp_path)
    assert set(files) == {"t", "x", "y"}
    assert directories(["t", "x", "unknown"], files) == [tmp_path / "a"]
    assert directories(["x", "y"], files) == [tmp_path / "a" / "b", tmp_path / "c"]


def test_the_generating_twin_is_one_that_the_framework_has() -> None:
    names = {"arc_challenge_chat", "mmlu_generative", "mmlu_stem_generative"}
    assert generating_twin("arc_challenge", names.__contains__) == "arc_challenge_chat"
    assert generating_twin("mmlu", names.__contains__) == "mmlu_generative"
    assert generating_twin("mmlu_stem", names.__contains__) == "mmlu_stem_generative"
    assert generating_twin("hellaswag", names.__contains__) is None
    assert generating_twin("truthfulqa_mc1", names.__contains__) is None


def test_parameters_have_defaults_and_the_names_of_the_framework() -> None:
    plain = read_parameters({}, None)
    assert (plain.num_fewshot, plain.limit, plain.concurrency, plain.generation) == (None, None, 4, {})
    given = read_parameters(
        {
            "num_fewshot": 0,
            "num_concurrent": 9,
            "timeout": 5,
            "max_gen_toks": 32,
            "limit": 3,
            "gen_kwargs": {"top_k": 4, "max_tokens": 1},
            "seed": 2.0,
            "top_p": None,
            "endpoint": "completions",
            "confirm_run_unsafe_code": True,
            "tokenizer": "x",
        },
        None,
    )
    assert (given.num_fewshot, given.concurrency, given.timeout_s, given.limit, given.seed) == (0, 9, 5, 3, 2)
    assert given.generation == {"top_k": 4, "max_tokens": 32, "seed": 2}
    assert (given.endpoint, given.confirm_run_unsafe_code) == ("completions", True)
    assert given.ignored == ("tokenizer",)
    assert read_parameters({"limit": 3}, 2).limit == 2


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"concurrency": 0},
            r"parameters\.concurrency is 0 \(number\): it must be a whole number from 1 to 256",
        ),
        ({"num_fewshot": "5"}, r"parameters\.num_fewshot is \"5\" \(string\)"),
        ({"max_gen_toks": 1.5}, r"parameters\.max_gen_toks is 1\.5 .* whole number from 1 to 131072"),
        ({"seed": 1.5}, r"parameters\.seed is 1\.5 \(number\): it must be a whole number"),
        (
            {"temperature": True},
            r"parameters\.temperature is true \(boolean\): it must be a number from 0 to 2",
        ),
        (
            {"endpoint": "http"},
            r"parameters\.endpoint is \"http\" \(string\): it must be chat or completions",
        ),
        ({"gen_kwargs": "a=1"}, r"parameters\.gen_kwargs is \"a=1\" \(string\): it must be an object"),
        ({"system_instruction": 1}, r"parameters\.system_instruction is 1 \(number\): it must be a text"),
        ({"fewshot_as_multiturn": "no"}, r"parameters\.fewshot_as_multiturn is \"no\" \(string\)"),
    ],
)
def test_a_wrong_parameter_is_named(parameters: dict[str, object], message: str) -> None:
    with pytest.raises(JobInvalid, match=message):
        read_parameters(parameters, None)


class Scoring:
    """A task of the framework as far as scoring goes."""

    def __init__(self, error: Exception | None) -> None:
        self.config = SimpleNamespace(process_results=print)
        self.eval_docs = ["a", "b", "c"]
        self.scored: list[object] = []
        self._error = error

    def process_results(self, doc: object, results: list[object]) -> None:
        self.scored.append(doc)
        if self._error is not None:
            raise self._error


MISSING = LookupError("Resource punkt_tab not found.")


@pytest.mark.parametrize(
    ("found", "error", "limit", "scored"),
    [
        (True, MISSING, None, 0),
        (False, None, 2, 2),
        (False, KeyError("x"), None, 3),
        (False, ValueError(), 1, 1),
    ],
)
def test_data_of_nltk_that_scoring_needs_is_looked_for_before_the_requests(
    monkeypatch: pytest.MonkeyPatch, found: bool, error: Exception | None, limit: int | None, scored: int
) -> None:
    def find(name: str) -> None:
        if not found:
            raise LookupError(name)

    monkeypatch.setitem(sys.modules, "nltk", SimpleNamespace(data=SimpleNamespace(find=find)))
    task, other, unsafe = Scoring(error), Scoring(MISSING), Scoring(MISSING)
    other.config.process_results = None
    unsafe.config.unsafe_code = True
    check_resources([task, other, unsafe], limit)
    assert [len(each.scored) for each in (task, other, unsafe)] == [scored, 0, 0]
    if not found:
        with pytest.raises(LookupError, match="punkt_tab"):
            check_resources([Scoring(MISSING)], None)


def test_scoring_without_nltk_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "nltk", raising=False)
    check_resources([Scoring(MISSING)], None)


class DatasetNotFoundError(Exception):
    """The name that the package datasets uses."""


@pytest.mark.parametrize(
    ("error", "code", "fragments"),
    [
        (
            ModuleNotFoundError("No module named 'langdetect.x'"),
            "framework_missing",
            ["'langdetect'", "adapters install"],
        ),
        (
            LookupError("\n  Resource \x1b[93mpunkt_tab\x1b[0m not found.\n"),
            "data_unavailable",
            ["punkt_tab", "NLTK"],
        ),
        (
            DatasetNotFoundError("Dataset 'a/b' is a gated dataset on the Hub. You must be authenticated"),
            "data_unavailable",
            ["'a/b'", "gated", "HF_TOKEN"],
        ),
        (
            RuntimeError("Dataset scripts are no longer supported, but found x.py"),
            "data_unavailable",
            ["loading script"],
        ),
        (
            ConnectionError("Couldn't reach 'a/b' on the Hub (OfflineModeIsEnabled)"),
            "data_unavailable",
            ["'a/b'", "not in the local cache", "HF_HUB_OFFLINE"],
        ),
        (
            FileNotFoundError("Couldn't find a module script at /d/code_eval/code_eval.py."),
            "data_unavailable",
            ["metric 'code_eval'"],
        ),
        (
            DatasetNotFoundError("Dataset 'a/b' doesn't exist on the Hub"),
            "data_unavailable",
            ["'a/b'", "does not exist"],
        ),
    ],
)
def test_a_known_cause_is_one_sentence(error: Exception, code: str, fragments: list[str]) -> None:
    try:
        raise ValueError("loading failed") from error
    except ValueError as wrapped:
        failure = explain(wrapped, "some_task", ["x/y", "a/b"])
    assert failure is not None
    assert failure.code == code
    assert all(fragment in str(failure) for fragment in ["some_task", *fragments]), failure


def test_an_unknown_cause_is_left_alone_and_a_data_set_may_be_unknown() -> None:
    assert explain(ValueError("x"), "t", ["a/b"]) is None
    unreachable = ConnectionError("Couldn't reach it")
    assert "the data set 'a/b' of benchmark t" in str(explain(unreachable, "t", ["a/b"]))
    assert "the data set of benchmark t" in str(explain(unreachable, "t", []))
