"""Records in which every field of every struct differs from its default, built from the types alone.

A field that is added to a struct is filled without a change here, so a storage that loses it fails its contract suite.
"""

from __future__ import annotations

from datetime import timedelta
from itertools import count
from typing import Any, NamedTuple, Self, TypeVar, cast

import msgspec
from msgspec import inspect

from evalhub_server.domain.record import JobRecord, with_changes
from evalhub_server.domain.resource import BaselineRecord, CollectionRecord, ProviderRecord
from evalhub_server.testing.builders import EPOCH

S = TypeVar("S", bound=msgspec.Struct)


def filled(struct: type[S], seed: int = 0, **fields: Any) -> S:
    """Return an instance without defaults, nested structs included; ``fields`` are taken as they are.

    Strings, numbers and times of two seeds differ.

    Raises:
        TypeError: a field has a type of which no value can be built, or only its default.
    """
    return _struct(inspect.type_info(struct), count(1 + 1000 * seed), fields)


def a_filled_job() -> JobRecord:
    """Return a job without defaults whose benchmarks are those of its plan."""
    job = filled(JobRecord)
    pairs = zip(job.plan.benchmarks, job.benchmarks, strict=True)
    return with_changes(
        job, benchmarks=tuple(msgspec.structs.replace(each, index=i) for i, (_, each) in enumerate(pairs))
    )


class FilledRecords(NamedTuple):
    """A record of each kind without a field that has its default, as :func:`filled` builds them."""

    job: JobRecord
    provider: ProviderRecord
    collection: CollectionRecord
    baseline: BaselineRecord

    @classmethod
    def build(cls) -> Self:
        return cls(a_filled_job(), filled(ProviderRecord), filled(CollectionRecord), filled(BaselineRecord))


def unfilled(value: object, path: str = "") -> list[str]:
    """Return the paths of the struct fields within ``value`` that have their default."""
    found: list[str] = []
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            here = f"{path}.{field.name}"
            content = getattr(value, field.name)
            if not field.required and content == _default(field):
                found.append(here)
            found += unfilled(content, here)
    elif isinstance(value, dict):
        for key, content in cast("dict[object, object]", value).items():
            found += unfilled(content, f"{path}[{key!r}]")
    elif isinstance(value, tuple):
        for index, content in enumerate(cast("tuple[object, ...]", value)):
            found += unfilled(content, f"{path}[{index}]")
    return found


def _default(field: inspect.Field | msgspec.structs.FieldInfo) -> Any:
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return field.default


def _struct(info: inspect.Type, numbers: count[int], fields: dict[str, Any]) -> Any:
    assert isinstance(info, inspect.StructType)  # noqa: S101
    values = dict(fields)
    for field in info.fields:
        if field.name in values:
            continue
        default = _default(field)
        values[field.name] = next(
            (each for each in _candidates(field.type, numbers) if each != default), msgspec.UNSET
        )
        if values[field.name] is msgspec.UNSET:
            raise TypeError(f"{info.cls.__name__}.{field.name}: no value but the default")
    return info.cls(**values)


def _candidates(info: inspect.Type, numbers: count[int]) -> list[Any]:
    """Return a few values of a type, of which at most one can be the default."""
    number = next(numbers)
    match info:
        case inspect.UnionType():
            return [
                value
                for each in info.types
                if not isinstance(each, (inspect.NoneType, inspect.AnyType))
                for value in _candidates(each, numbers)
            ]
        case inspect.StructType():
            return [_struct(info, numbers, {})]
        case inspect.EnumType():
            members = list(info.cls)
            return [members[number % len(members)], *members]
        case inspect.LiteralType():
            return [info.values[number % len(info.values)], *info.values]
        case inspect.BoolType():
            return [True, False]
        case inspect.IntType():
            return [number, number + 1]
        case inspect.FloatType():
            return [number + 0.5, number + 0.25]
        case inspect.StrType():
            return [f"text {number} å"]
        case inspect.DateTimeType():
            return [EPOCH + timedelta(seconds=number, microseconds=number)]
        case inspect.AnyType():
            return [{"number": number, "list": [1.5, None, True, "text"]}]
        case inspect.DictType():
            keys, values = _candidates(info.key_type, numbers), _candidates(info.value_type, numbers)
            return [{keys[0]: values[0]}]
        case inspect.VarTupleType() | inspect.ListType():
            items = [_candidates(info.item_type, numbers)[0] for _ in range(2)]
            return [tuple(items) if isinstance(info, inspect.VarTupleType) else items]
        case _:
            raise TypeError(f"no value can be built of {info}")
