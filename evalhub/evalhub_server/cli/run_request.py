"""What ``run`` submits: options and a matrix file as one job per model."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from evalhub_server.client import Client, ClientError, ResourceNotFound
from evalhub_server.client.catalogue import Catalogue
from evalhub_server.client.resources import Json
from evalhub_server.errors import SettingsError
from evalhub_server.plugins.sections import convert_section
from evalhub_server.settings.yaml_file import parse_yaml

NUM_EXAMPLES = "num_examples"


class MatrixModel(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A model of the matrix, as in the request of a job."""

    name: str
    url: str = ""
    auth: Json | None = None
    parameters: Json | None = None


class Matrix(msgspec.Struct, kw_only=True, frozen=True):
    """Models and benchmarks, from a file and options. A benchmark is ``provider/id`` or an object as in the request of a job.

    ``parameters``, ``num_examples`` and ``test_data_path`` are for all benchmarks; those of a benchmark take precedence.
    """

    name: str = ""
    description: str = ""
    models: tuple[MatrixModel, ...] = ()
    benchmarks: tuple[str | Json, ...] = ()
    collection: str = ""
    parameters: Json = {}
    num_examples: int | None = None
    test_data_path: str = ""
    tags: tuple[str, ...] = ()
    experiment: str | Json = ""
    exports: Json = {}
    pass_criteria: Json = {}
    custom: Json = {}


class RunOptions(msgspec.Struct, kw_only=True, frozen=True):
    """Options of ``run`` about the jobs. They replace what the file says under the same name; parameters are merged."""

    file: Path | None = None
    model_url: str | None = None
    model_name: str | None = None
    models: tuple[str, ...] = ()
    benchmarks: tuple[str, ...] = ()
    collection: str | None = None
    num_examples: int | None = None
    test_data: Path | None = None
    parameters: tuple[str, ...] = ()
    name: str | None = None
    tags: tuple[str, ...] = ()
    experiment: str | None = None


def read_matrix(options: RunOptions) -> Matrix:
    """The matrix of the file, with the options. Raises :class:`click.UsageError`."""
    matrix = _from_file(options.file) if options.file else Matrix()
    models = _models(options)
    changes: Json = {
        "models": models or None,
        "benchmarks": options.benchmarks or None,
        "collection": options.collection,
        "num_examples": options.num_examples,
        "test_data_path": str(options.test_data.expanduser().resolve()) if options.test_data else None,
        "name": options.name,
        "tags": options.tags or None,
        "experiment": options.experiment,
        "parameters": matrix.parameters | _parameters(options.parameters),
    }
    if options.collection:
        changes["benchmarks"] = options.benchmarks
    elif options.benchmarks:
        changes["collection"] = ""
    matrix = msgspec.structs.replace(
        matrix, **{key: value for key, value in changes.items() if value is not None}
    )
    if not matrix.models:
        raise click.UsageError(
            "No model. Give --model NAME=URL, or --model-url and --model-name, or models in a file."
        )
    if not matrix.benchmarks and not matrix.collection:
        raise click.UsageError(
            "No benchmarks. Give --benchmark PROVIDER/ID or --collection ID, or either in a file."
        )
    if matrix.benchmarks and matrix.collection:
        raise click.UsageError("Benchmarks and a collection exclude each other.")
    return matrix


def job_requests(matrix: Matrix, client: Client) -> list[Json]:
    """The body of a create for each model. Raises :class:`click.UsageError` for a benchmark without its provider."""
    shared = _shared(matrix, client)
    requests: list[Json] = []
    for model in matrix.models:
        name = matrix.name or model.name
        if matrix.name and len(matrix.models) > 1:
            name = f"{matrix.name}: {model.name}"
        requests.append({"name": name, "model": msgspec.to_builtins(model), **shared})
    return requests


def _shared(matrix: Matrix, client: Client) -> Json:
    """All but name and model."""
    parameters = dict(matrix.parameters)
    if matrix.num_examples is not None:
        parameters[NUM_EXAMPLES] = matrix.num_examples
    data: Json = {"test_data_path": matrix.test_data_path} if matrix.test_data_path else {}
    request: Json = {}
    if matrix.collection:
        collection: Json = {"id": matrix.collection}
        request["collection"] = collection
        try:
            members = client.collections.get(matrix.collection).get("benchmarks") or []
        except ResourceNotFound as error:
            raise click.UsageError(str(error) + _near(matrix.collection, client.collections)) from None
        if changes := ({"parameters": parameters} if parameters else {}) | data:
            collection["benchmarks"] = [
                {"id": each["id"], "provider_id": each["provider_id"], **changes} for each in members
            ]
    else:
        request["benchmarks"] = [_benchmark(each, parameters, data, client) for each in matrix.benchmarks]
    experiment = {"name": matrix.experiment} if isinstance(matrix.experiment, str) else matrix.experiment
    optional: Json = {
        "description": matrix.description,
        "tags": list(matrix.tags),
        "experiment": experiment if matrix.experiment else None,
        "exports": matrix.exports,
        "pass_criteria": matrix.pass_criteria,
        "custom": matrix.custom,
    }
    return request | {name: value for name, value in optional.items() if value}


def _benchmark(benchmark: str | Json, parameters: Json, data: Json, client: Client) -> Json:
    if not isinstance(benchmark, str):
        own = {} if benchmark.get("test_data_ref") else data
        return own | benchmark | {"parameters": parameters | (benchmark.get("parameters") or {})}
    provider_id, slash, benchmark_id = benchmark.partition("/")
    if not slash:
        provider_id, benchmark_id = _provider_of(benchmark, client), benchmark
    else:
        benchmark_id = _listed_id(provider_id, benchmark, client)
    return {"id": benchmark_id, "provider_id": provider_id, "parameters": parameters, **data}


def _listed_id(provider_id: str, text: str, client: Client) -> str:
    """The benchmark that ``provider/id`` means: ``id``, or the listed benchmark that has the whole text as its id or alias."""
    benchmark_id = text.partition("/")[2]
    try:
        provider = client.providers.get(provider_id)
    except ResourceNotFound as error:
        raise click.UsageError(str(error) + _near(provider_id, client.providers)) from None
    except ClientError:
        return benchmark_id  # the server refuses the job, with the reason
    listed = provider.get("benchmarks") or []
    tasks = {str(each["id"]): str(each.get("alias_of") or each["id"]) for each in listed}
    if benchmark_id in tasks:
        return benchmark_id
    if text not in tasks and not provider.get("any_benchmark"):
        hint = _did_you_mean(benchmark_id, {each: f"{provider_id}/{each}" for each in tasks})
        raise click.UsageError(f"The provider '{provider_id}' has no benchmark '{benchmark_id}'.{hint}")
    return tasks.get(text, benchmark_id)


def _near(resource_id: str, resources: Catalogue[Any]) -> str:
    """The resource with the most similar id, as a question; empty if there is none."""
    ids = [str(each["resource"]["id"]) for each in resources.iterate()]
    return _did_you_mean(resource_id, {each: each for each in ids})


def _did_you_mean(text: str, known: Mapping[str, str]) -> str:
    """The most similar key of ``known``, by its value, as a question."""
    near = difflib.get_close_matches(text, known, n=1)
    return f" Did you mean '{known[near[0]]}'?" if near else ""


def _provider_of(benchmark_id: str, client: Client) -> str:
    """The only provider with this benchmark, or the only one that can run here."""
    providers: dict[str, list[str]] = {}
    unlisted: list[str] = []
    unusable: set[str] = set()
    for provider in client.providers.iterate():
        runnable: Json = provider.get("runnable") or {}
        if runnable.get("local") is False:
            unusable.add(provider["resource"]["id"])
        if provider.get("any_benchmark"):
            unlisted.append(provider["resource"]["id"])
        for each in provider.get("benchmarks") or []:
            providers.setdefault(each["id"], []).append(provider["resource"]["id"])
    found = providers.get(benchmark_id, [])
    usable = [provider for provider in found if provider not in unusable]
    for only in (found, usable):
        if len(only) == 1:
            return only[0]
    if found:
        choices = " or ".join(f"{provider}/{benchmark_id}" for provider in sorted(found))
        raise click.UsageError(f"Several providers have the benchmark '{benchmark_id}': use {choices}.")
    hint = _did_you_mean(benchmark_id, {each: f"{names[0]}/{each}" for each, names in providers.items()})
    if unlisted:
        choices = " or ".join(f"{provider}/{benchmark_id}" for provider in sorted(unlisted))
        hint += f" For a task that is not listed, name its provider: {choices}."
    raise click.UsageError(f"No provider has the benchmark '{benchmark_id}'.{hint}")


def _models(options: RunOptions) -> tuple[MatrixModel, ...]:
    if bool(options.model_url) != bool(options.model_name):
        missing = "--model-name" if options.model_url else "--model-url"
        raise click.UsageError(f"--model-url and --model-name go together; {missing} is missing.")
    models: list[MatrixModel] = []
    if options.model_name and options.model_url:
        models.append(MatrixModel(name=options.model_name, url=options.model_url))
    for text in options.models:
        name, equals, url = text.partition("=")
        if not (equals and name.strip() and url.strip()):
            raise click.UsageError(
                f"--model {text}: expected NAME=URL, such as llama3.2:3b=http://localhost:11434/v1."
            )
        models.append(MatrixModel(name=name.strip(), url=url.strip()))
    return tuple(models)


def _parameters(texts: Sequence[str]) -> Json:
    """``NAME=VALUE`` pairs; values are YAML, so that numbers and lists need no quotes."""
    parameters: Json = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name.strip()):
            raise click.UsageError(f"--param {text}: expected NAME=VALUE, such as temperature=0.")
        try:
            parameters[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            parameters[name.strip()] = value
    limit = parameters.get(NUM_EXAMPLES)
    if isinstance(limit, str | bool):  # the server would ignore it and evaluate everything
        raise click.UsageError(f"--param {NUM_EXAMPLES}={limit}: expected a number.")
    return parameters


def _from_file(file: Path) -> Matrix:
    try:
        parsed = parse_yaml(file)
        value: Any = parsed.value
        if not isinstance(value, dict):
            raise SettingsError("expected an object with models and benchmarks or a collection.", str(file))
        try:
            return convert_section(value, Matrix, "")
        except SettingsError as error:
            path = error.message.partition(":")[0]
            raise SettingsError(error.message, str(file), parsed.line(path)) from None
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
