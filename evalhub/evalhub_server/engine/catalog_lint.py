"""Warnings about provider and collection files that are valid: references, metrics and commands that do not exist."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from evalhub_server.domain.planning import offered_benchmark
from evalhub_server.engine.catalog_files import Loaded
from evalhub_server.environments.frameworks import install_command
from evalhub_server.environments.store import AdaptersError, find_environment
from evalhub_server.models.collection import CollectionConfig
from evalhub_server.models.job import BenchmarkRef
from evalhub_server.models.provider import ProviderBenchmark, ProviderConfig
from evalhub_server.settings import Finding, key_of, nearest_above, parse_yaml

_ASSIGNMENT = re.compile(r"[A-Za-z_][A-Za-z0-9_]*=")
_PLAIN_WORD = re.compile(r"[\w./@%+:,-]+")
"""A word that the shell takes literally; others are not judged."""
_SHELL_WORDS = frozenset(
    [
        ".",
        ":",
        "[",
        "alias",
        "bg",
        "break",
        "builtin",
        "case",
        "cd",
        "command",
        "continue",
        "declare",
        "echo",
        "eval",
        "exec",
        "exit",
        "export",
        "false",
        "fg",
        "for",
        "function",
        "getopts",
        "hash",
        "if",
        "jobs",
        "kill",
        "local",
        "printf",
        "pwd",
        "read",
        "readonly",
        "return",
        "select",
        "set",
        "shift",
        "source",
        "test",
        "time",
        "times",
        "trap",
        "true",
        "type",
        "typeset",
        "ulimit",
        "umask",
        "unalias",
        "unset",
        "until",
        "wait",
        "while",
    ]
)


def lint(
    providers: Iterable[Loaded[ProviderConfig]], collections: Iterable[Loaded[CollectionConfig]]
) -> Iterator[Finding]:
    """Yield a warning for each reference that no file defines, and each primary metric that a benchmark does not report.

    Clients may still add providers over REST. A job of a collection with a missing benchmark is refused.
    """
    warning = _Warnings()
    configs = {one.id: one.config for one in providers}
    benchmarks = {
        id_: {benchmark.id: benchmark for benchmark in config.benchmarks} for id_, config in configs.items()
    }
    for provider in providers:
        first: dict[str, int] = {}
        for index, benchmark in enumerate(provider.config.benchmarks):
            if (before := first.setdefault(benchmark.id, index)) != index:
                error = f"benchmarks[{before}] has the id '{benchmark.id}', too; jobs get the first of them"
                yield warning(provider.file, f"benchmarks[{index}].id: {error}")
            errors = [_wrong_metric(benchmark, benchmark), *_wrong_names(benchmark, provider.config)]
            for error in filter(None, errors):
                yield warning(provider.file, f"benchmarks[{index}].{error}")
    for collection in collections:
        for index, benchmark in enumerate(collection.config.benchmarks):
            path = f"benchmarks[{index}]"
            of_provider = benchmarks.get(benchmark.provider_id)
            if of_provider is None:
                key, value, known = "provider_id", benchmark.provider_id, list(benchmarks)
                error = f"no file defines a provider '{value}'"
            elif (defined := offered_benchmark(configs[benchmark.provider_id], benchmark.id)) is None:
                key, value, known = "id", benchmark.id, list(of_provider)
                error = f"provider '{benchmark.provider_id}' has no benchmark '{value}'"
            else:
                if error := _wrong_metric(benchmark, defined):
                    yield warning(collection.file, f"{path}.{error}")
                continue
            yield warning(collection.file, f"{path}.{key}: {error}{_similar(value, known)}")


def missing_commands(
    providers: Iterable[Loaded[ProviderConfig]], environ: Mapping[str, str], cwd: str
) -> Iterator[Finding]:
    """Yield a warning for each local command whose program does not exist. ``cwd`` is the default of ``local.cwd``.

    A malformed ``env``, with which each launch fails, is an error. Only a program whose name is written literally is looked up; no command is run. A framework that is not installed is no
    more than information: the bundled providers name several.
    """
    warning = _Warnings()
    for provider in providers:
        local: dict[str, Any] = provider.config.runtime.get("local") or {}
        text = local.get("command")
        if not isinstance(text, str):
            continue
        if error := _malformed(local.get("env")):
            yield msgspec.structs.replace(warning(provider.file, f"runtime.local.{error}"), severity="error")
            continue
        for index, variable in enumerate(local.get("env") or ()):
            if not variable.get("name"):
                error = "is missing, so adapters do not get the variable"
                yield warning(provider.file, f"runtime.local.env[{index}].name: {error}")
            source = variable.get("value_from_env")
            if source is not None and source not in environ:
                error = f"there is no variable {source} in this environment, so adapters do not get it"
                yield warning(provider.file, f"runtime.local.env[{index}].value_from_env: {error}")
        if (environment := local.get("environment")) is not None:
            if error := _not_installed(environment):
                found = warning(provider.file, f"runtime.local.environment: {error}")
                yield msgspec.structs.replace(found, severity="info")
            continue
        env = {str(one["name"]): str(one["value"]) for one in local.get("env") or ()}
        folder = Path(str(local.get("cwd") or cwd or ".")).expanduser()
        if local.get("cwd") and not folder.is_dir():
            error = f"there is no directory {folder}; create it, or correct the path"
            yield warning(provider.file, f"runtime.local.cwd: {error}")
            continue
        program = _program(text)
        path = env.get("PATH", environ.get("PATH", os.defpath))
        if venv := local.get("venv"):
            programs = Path(venv).expanduser() / "bin"
            if not programs.is_dir():
                error = f"there is no virtual environment at {venv}; create it, or correct the path"
                yield warning(provider.file, f"runtime.local.venv: {error}")
                continue
            path = f"{programs}{os.pathsep}{path}"
        if program and not _exists(program, path, folder):
            error = f"there is no program '{program}'; install it, or write the path of an existing one"
            yield warning(provider.file, f"runtime.local.command: {error}")


def _malformed(env: Any) -> str:
    """What is wrong with the shape of ``env``; an empty string if nothing is."""
    if env is not None and not isinstance(env, list):
        return "env: must be a list of {name, value}"
    entries = cast("list[Any]", env or [])
    return next(
        (f"env[{i}]: must be {{name, value}}" for i, one in enumerate(entries) if not isinstance(one, dict)),
        "",
    )


def _not_installed(name: str) -> str:
    try:
        found = find_environment(name)
    except AdaptersError as error:
        return str(error)
    return "" if found else f"the framework '{name}' is not installed; run: {install_command(name)}"


def _program(command: str) -> str:
    """The program that a shell command starts first, or an empty string if that cannot be told."""
    command = command.replace('"$EVALHUB_PYTHON"', sys.executable).replace("$EVALHUB_PYTHON", sys.executable)
    try:
        words = shlex.split(command.partition("\n")[0], comments=True)
    except ValueError:
        return ""
    while words and (words[0] == "exec" or _ASSIGNMENT.match(words[0])):
        if words[0].startswith("PATH="):
            return ""
        words = words[1:]
    word = words[0].rstrip(";") if words else ""
    return word if _PLAIN_WORD.fullmatch(word) and word not in _SHELL_WORDS else ""


def _exists(program: str, path: str, folder: Path) -> bool:
    if "/" in program:
        return os.access(folder / program, os.X_OK)
    return shutil.which(program, path=path) is not None


def _wrong_metric(benchmark: ProviderBenchmark | BenchmarkRef, defined: ProviderBenchmark) -> str:
    """The problem of a primary score that ``defined`` does not report, beginning with its key, or an empty string."""
    score = benchmark.primary_score
    metrics = defined.metrics
    if not score or not metrics or score.metric in metrics:
        return ""
    similar = _similar(score.metric, metrics)
    return f"primary_score.metric: the benchmark has no metric '{score.metric}'{similar}"


def _wrong_names(benchmark: ProviderBenchmark, provider: ProviderConfig) -> Iterator[str]:
    """Problems of the names of other benchmarks of the provider, beginning with their keys."""
    for key, name in (("alias_of", benchmark.alias_of), ("generating_twin", benchmark.generating_twin)):
        if not name:
            continue
        other = offered_benchmark(provider, name)
        if other is None:
            similar = _similar(name, [each.id for each in provider.benchmarks])
            yield f"{key}: the provider has no benchmark '{name}'{similar}"
        elif name == benchmark.id:
            yield f"{key}: names the benchmark itself; name another one, or remove the key"
        elif key == "alias_of" and other.alias_of:
            yield f"alias_of: '{name}' is an alias itself; name '{other.alias_of}'"


class _Warnings:
    """Warnings whose messages begin with a key path; each file is parsed once for the lines."""

    def __init__(self) -> None:
        self._files: dict[Path, dict[str, int]] = {}

    def __call__(self, file: Path, message: str) -> Finding:
        if file not in self._files:
            self._files[file] = parse_yaml(file).lines()
        return Finding("warning", str(file), nearest_above(self._files[file], key_of(message)) or 0, message)


def _similar(value: str, known: Iterable[str]) -> str:
    similar = difflib.get_close_matches(value, list(known), n=1)
    return f"; did you mean '{similar[0]}'?" if similar else ""
