"""What a task needs beside the model: a sandbox, a second model. Missing ones are reported before the run."""

from __future__ import annotations

import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from evalhub_adapters.inspect_adapter.parameters import Parameters
from evalhub_adapters.inspect_adapter.problems import judge_missing, sandbox_missing
from evalhub_common.adapter.errors import JobInvalid
from evalhub_common.adapter.json_values import as_list
from evalhub_common.adapter.model import Model, base_target

if TYPE_CHECKING:
    from inspect_ai import Task

    from evalhub_adapters.inspect_adapter.tasks import FoundTask

SERVICE = "judge"
ROLES = ("expander", "grader", "judge", "mark", "victim")
"""Roles in which tasks use a second model."""
KEY_VARIABLE = "EVALHUB_JUDGE_API_KEY"
NO_KEY = "none"
DOCKER_TIMEOUT_S = 20.0
_NAMED = re.compile(
    r"^(\w+_)?(judge|grader|scorer)(_model|_llm)s?$|^(semantic|refusal)_judge$|^grader$|^(expansion|victim)_llm$"
)
_ASKS = re.compile(r"\bget_model\((?!\))|\bmodel_graded_(qa|fact)\(")


class Judge:
    """The model that scores; ``name`` is None if the job names none.

    It has the API key of the evaluated model only if it is behind the same endpoint.
    """

    def __init__(self, parameters: Parameters, model: Model, environ: Mapping[str, str]) -> None:
        """Raises JobInvalid if its URL is not usable."""
        self.name = f"openai-api/{SERVICE}/{parameters.judge_model}" if parameters.judge_model else None
        judge_url = parameters.judge_url
        base = base_target(judge_url, "parameters.judge_url") if judge_url else model.base
        key = environ.get(KEY_VARIABLE) or (model.secret.api_key if base == model.base else None)
        self.variables = {"JUDGE_BASE_URL": base.url, "JUDGE_API_KEY": key or NO_KEY}
        """What Inspect reads about it from the environment."""

    @property
    def roles(self) -> dict[str, str]:
        """The models of roles."""
        return dict.fromkeys(ROLES, self.name) if self.name else {}

    def arguments(self, found: FoundTask, given: Iterable[str]) -> dict[str, object]:
        """The arguments of a task that name this model.

        Raises:
            JobInvalid: the task would use a model of another provider, and the job names none.
        """
        arguments: dict[str, object] = {}
        for name, parameter in found.arguments.items():
            if name in given or not _NAMED.match(name):
                continue
            default = parameter.default
            several = name.endswith("s") or isinstance(default, list | tuple)
            foreign = isinstance(default, list | tuple) or (isinstance(default, str) and "/" in default)
            if foreign and self.name is None:
                raise judge_missing(found.name)
            if self.name and (foreign or default is None):
                arguments[name] = [self.name] if several else self.name
        return arguments

    def check(self, found: FoundTask, task: Task, given: Iterable[str]) -> None:
        """Check the scorers of a task. Raises JobInvalid if one uses a model, and the job names none."""
        if self.name or any(_NAMED.match(name) for name in given):
            return
        if any(map(_asks_model, as_list(task.scorer) or [task.scorer])):
            raise judge_missing(found.name)


def check_docker(found: FoundTask) -> None:
    """Raises JobInvalid if Docker cannot run containers."""
    docker = shutil.which("docker")
    if docker is None:
        raise JobInvalid(sandbox_missing(found.name, "the program docker is not installed"))
    try:
        done = subprocess.run(  # noqa: S603
            [docker, "version", "--format", "{{.Server.Version}}"],
            capture_output=True,
            text=True,
            timeout=DOCKER_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise JobInvalid(sandbox_missing(found.name, "Docker does not respond")) from None
    if done.returncode != 0:
        reason = " ".join(done.stderr.split())[:300] or f"status {done.returncode}"
        raise JobInvalid(sandbox_missing(found.name, f"Docker cannot be used ({reason})"))


def sandbox_types(task: Task) -> set[str]:
    """The kinds of sandboxes of a task and its samples."""
    specs = [task.sandbox, *(sample.sandbox for sample in task.dataset)]
    return {spec.type for spec in specs if spec is not None}


def _asks_model(scorer: object) -> bool:
    """Whether the function that created a scorer uses a model."""
    module = sys.modules.get(getattr(scorer, "__module__", ""))
    name = str(getattr(scorer, "__qualname__", "")).partition(".")[0]
    creator = getattr(module, name, None)
    if creator is None:
        return False
    if name.startswith("model_graded"):
        return True
    try:
        return bool(_ASKS.search(inspect.getsource(inspect.unwrap(creator))))
    except (OSError, TypeError):
        return False
