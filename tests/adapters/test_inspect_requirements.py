"""What tasks of Inspect need beside the model, without the framework: tasks are stand-ins with what is read of them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from evalhub_adapters.inspect_adapter import requirements
from evalhub_adapters.inspect_adapter.parameters import read_parameters
from evalhub_adapters.inspect_adapter.requirements import Judge, check_docker, sandbox_types
from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.model import read_model

MODEL = read_model({"url": "http://127.0.0.1:9/v1", "name": "m"}, {"OPENAI_API_KEY": "own"})
NAME = "openai-api/judge/j"


def judge(environ: dict[str, str] | None = None, **parameters: object) -> Judge:
    return Judge(read_parameters(parameters, None), MODEL, environ or {})


def found(function: Callable[..., Any] = lambda: None) -> Any:
    return SimpleNamespace(name="p/t", arguments=inspect.signature(function).parameters)


def judged(
    judge_llm: str = "openai/gpt", grader_models: object = ("a/b",), scorer_model: object = None
) -> None: ...


def unjudged(scorer: str = "regex", model: str = "x/y", grader_model: str = "own") -> None: ...


def test_a_judge_takes_the_place_of_other_models() -> None:
    assert judge(judge_model="j").arguments(found(judged), []) == {
        "judge_llm": NAME,
        "grader_models": [NAME],
        "scorer_model": NAME,
    }
    assert set(judge(judge_model="j").roles.values()) == {NAME}
    assert judge(judge_model="j").arguments(found(judged), ["judge_llm", "grader_models"]) == {
        "scorer_model": NAME
    }
    assert judge().arguments(found(unjudged), []) == {}
    assert judge().roles == {}
    with pytest.raises(
        JobInvalid, match=r"benchmark p/t is scored with the help of a model.*parameters\.judge_model"
    ):
        judge().arguments(found(judged), [])


def test_the_key_of_the_model_is_not_sent_to_another_endpoint() -> None:
    assert judge(judge_model="j").variables == {
        "JUDGE_BASE_URL": "http://127.0.0.1:9/v1",
        "JUDGE_API_KEY": "own",
    }
    other = {"judge_model": "j", "judge_url": "http://127.0.0.1:8"}
    assert judge(**other).variables == {"JUDGE_BASE_URL": "http://127.0.0.1:8/v1", "JUDGE_API_KEY": "none"}
    assert judge({"EVALHUB_JUDGE_API_KEY": "k"}, **other).variables["JUDGE_API_KEY"] == "k"


def test_an_unusable_url_of_the_judge_is_named_as_that() -> None:
    with pytest.raises(JobInvalid, match=r"^parameters\.judge_url cannot be used"):
        judge(judge_model="j", judge_url="nowhere")


def asking() -> Callable[[], object]:
    def score() -> object:
        return get_model(role="grader")  # type: ignore[name-defined]  # noqa: F821

    return score


def plain() -> Callable[[], object]:
    def score() -> object:
        return get_model()  # type: ignore[name-defined]  # noqa: F821

    return score


def model_graded_anything() -> Callable[[], object]:
    def score() -> object:
        return None

    return score


@pytest.mark.parametrize(
    ("scorer", "needs"),
    [
        (asking(), True),
        ([plain(), asking()], True),
        (plain(), False),
        (model_graded_anything(), True),
        (None, False),
    ],
)
def test_scorers_that_use_a_model_need_a_judge(scorer: object, needs: bool) -> None:
    task: Any = SimpleNamespace(scorer=scorer)
    judge(judge_model="j").check(found(), task, [])
    judge().check(found(), task, ["grader_model"])
    if not needs:
        judge().check(found(), task, [])
        return
    with pytest.raises(JobInvalid, match="is scored with the help of a model"):
        judge().check(found(), task, [])


def test_sandboxes_are_those_of_the_task_and_its_samples() -> None:
    docker, local = SimpleNamespace(type="docker"), SimpleNamespace(type="local")
    samples = [SimpleNamespace(sandbox=None), SimpleNamespace(sandbox=docker)]
    task: Any = SimpleNamespace(sandbox=local, dataset=samples)
    assert sandbox_types(task) == {"docker", "local"}


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "the program docker is not installed"),
        ("exit 0", None),
        ("echo no daemon >&2; exit 1", "Docker cannot be used (no daemon)"),
        ("exit 3", "Docker cannot be used (status 3)"),
        ("exec sleep 60", "Docker does not respond"),
    ],
)
def test_docker_is_tried_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None, reason: str | None
) -> None:
    if script is not None:
        program = tmp_path / "docker"
        program.write_text(f"#!/bin/sh\nPATH=/bin:/usr/bin\n{script}\n")
        program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(requirements, "DOCKER_TIMEOUT_S", 0.5 if script and "sleep" in script else 20.0)
    if reason is None:
        check_docker(found())
        return
    with pytest.raises(JobInvalid) as raised:
        check_docker(found())
    assert reason in str(raised.value)
