"""Jobs and samples as data frames, with pandas or polars if one of them is installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import msgspec

from evalhub_server.client.errors import ClientError
from evalhub_server.client.resources import Job, Json, benchmark_results, benchmark_statuses

JOB_COLUMNS = (
    *("job_id", "job_name", "job_state", "created_at", "model_name", "model_url"),
    *("provider_id", "benchmark_id", "benchmark_index", "state"),
    *("primary_score_metric", "primary_score", "threshold", "pass"),
)
Library = Literal["pandas", "polars"]


def jobs_df(jobs: Iterable[Job], library: Library | None = None) -> Any:
    """A data frame with one row per benchmark of the jobs, and one column ``metrics.NAME`` per metric.

    ``library``: default is pandas if it is installed, else polars. Raises :class:`ClientError` if neither is.
    """
    return _frame(_job_rows(jobs), library, JOB_COLUMNS)


def samples_df(samples: Iterable[Json], library: Library | None = None) -> Any:
    """A data frame with one row per sample, and one column ``metrics.NAME`` per metric.

    A polars column whose values have several types, such as texts and objects, has them as JSON.
    """
    return _frame((_flat(sample) for sample in samples), library, ("sample_id",))


def _job_rows(jobs: Iterable[Job]) -> Iterator[Json]:
    for job in jobs:
        results = {each.get("benchmark_index"): each for each in benchmark_results(job)}
        for status in benchmark_statuses(job):
            index = status["benchmark_index"]
            result = results.get(index)
            test = result.get("test") if result else None
            row: Json = {
                "job_id": job["resource"]["id"],
                "job_name": job["name"],
                "job_state": job["status"]["state"],
                "created_at": job["resource"].get("created_at"),
                "model_name": job["model"]["name"],
                "model_url": job["model"].get("url", ""),
                "provider_id": status["provider_id"],
                "benchmark_id": status["id"],
                "benchmark_index": index,
                "state": status["status"],
                "primary_score_metric": test.get("primary_score_metric") if test else None,
                "primary_score": test.get("primary_score") if test else None,
                "threshold": test.get("threshold") if test else None,
                "pass": test.get("pass") if test else None,
                "metrics": result.get("metrics", {}) if result else {},
            }
            yield _flat(row)


def _flat(row: Json) -> Json:
    metrics: Json = row.get("metrics") or {}
    rest = {name: value for name, value in row.items() if name != "metrics"}
    return rest | {f"metrics.{name}": value for name, value in metrics.items()}


def _frame(rows: Iterable[Json], library: Library | None, columns: Sequence[str]) -> Any:
    """The data frame; ``columns`` come first, and are there without rows as well."""
    for name in (library,) if library else ("pandas", "polars"):
        try:
            module: Any = importlib.import_module(name)
        except ImportError:
            continue
        found = _columns(list(rows), columns)
        if name == "pandas":
            return module.DataFrame(found)
        return module.DataFrame([_polars_series(module, *column) for column in found.items()])
    wanted = library or "pandas or polars"
    raise ClientError(
        f"a data frame needs {wanted}, which is not installed: pip install {library or 'pandas'}"
    )


def _columns(rows: Sequence[Json], first: Sequence[str]) -> dict[str, list[Any]]:
    names = dict.fromkeys((*first, *(name for row in rows for name in row)))
    return {name: [row.get(name) for row in rows] for name in names}


def _polars_series(polars: Any, name: str, values: list[Any]) -> Any:
    """A column of one type; of JSON texts if the values have several, as inputs and outputs of samples may."""
    try:
        series = polars.Series(name, values, strict=False)
        if series.dtype != polars.Object and series.to_list() == values:
            return series
    except (TypeError, ValueError, OverflowError, polars.exceptions.PolarsError):
        pass  # values of several types, or too large ones
    return polars.Series(name, [None if each is None else _json(each) for each in values], polars.String)


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
