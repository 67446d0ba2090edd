"""Records without defaults, for the contract suites."""

from __future__ import annotations

import msgspec
import pytest

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.resource import CollectionRecord, ProviderRecord
from evalhub_server.testing.filled_record import filled, unfilled


class Inner(msgspec.Struct, frozen=True):
    flag: bool = True
    names: tuple[str, ...] = ()


class Outer(msgspec.Struct, frozen=True):
    inner: Inner
    count: int = 0
    other: Inner | None = None


@pytest.mark.parametrize("type_", [JobRecord, ProviderRecord, CollectionRecord, Outer])
def test_no_field_has_its_default_and_two_seeds_differ(type_: type[msgspec.Struct]) -> None:
    assert unfilled(filled(type_)) == []
    assert filled(type_) == filled(type_)
    assert filled(type_) != filled(type_, 1)


def test_fields_with_their_default_are_found_wherever_they_are() -> None:
    value = Outer(inner=Inner(flag=False), other=Inner(names=("a",)))
    assert unfilled(value) == [".inner.names", ".count", ".other.flag"]


def test_a_type_of_which_no_value_can_be_built_is_named() -> None:
    class Unknown(msgspec.Struct):
        blob: bytes

    with pytest.raises(TypeError, match="no value can be built of BytesType"):
        filled(Unknown)
