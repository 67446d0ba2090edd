"""Sections of the configuration become settings, or an error that names the key."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Struct

from evalhub_server.errors import SettingsError
from evalhub_server.plugins.sections import Duration, convert_section


class Inner(Struct, frozen=True):
    depth: int = 1


class Outer(Struct):
    name: str = "x"
    wait: Duration = Duration(1)
    inner: Inner = Inner()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("15s", 15), ("1h30m", 5400), ("1.5s", 1.5), ("250ms", 0.25), ("0", 0), (2_000_000_000, 2), ("5m", 300)],
)
def test_durations_in_both_forms(text: object, seconds: float):
    assert convert_section({"wait": text}, Outer, "s").wait == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["15", "-1s", "soon", "1 h", "", True, -5])
def test_what_is_no_duration_is_refused(text: object):
    with pytest.raises(SettingsError, match=r"^s\.wait: .*is not a duration"):
        convert_section({"wait": text}, Outer, "s")


@pytest.mark.parametrize(
    ("section", "complaint"),
    [
        ({"nam": "y"}, r"^s\.nam: unknown key \(did you mean name\?\)$"),
        ({"zzzz": 1}, r"^s\.zzzz: unknown key \(known: name, wait, inner\)$"),
        ({"inner": {"dept": 1}}, r"^s\.inner\.dept: unknown key"),
        ({"inner": {"depth": "deep"}}, r"^s\.inner\.depth: expected `int`"),
        ([1], r"^s: expected `object`"),
    ],
)
def test_a_wrong_section_is_refused_with_its_path(section: Any, complaint: str):
    with pytest.raises(SettingsError, match=complaint):
        convert_section(section, Outer, "s")


def test_numbers_may_be_text_and_null_means_absent():
    assert convert_section({"inner": {"depth": "7"}, "name": None}, Outer, "s") == Outer(inner=Inner(depth=7))
    assert convert_section(None, Outer, "s") == Outer()
