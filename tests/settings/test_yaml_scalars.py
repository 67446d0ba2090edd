"""Scalars of YAML files have the values that Go's yaml.v3 and viper give them; the tables were recorded from both."""

from __future__ import annotations

import tracemalloc
from pathlib import Path
from typing import Annotated, Any

import msgspec
import pytest

from evalhub_server.errors import SettingsError
from evalhub_server.plugins.sections import convert_section
from evalhub_server.settings import parse_yaml

NUMBERS: dict[str, Any] = {
    "1e-5": 1e-5,
    "1e5": 1e5,
    "1E+3": 1000.0,
    "5e-1": 0.5,
    ".5": 0.5,
    "5.": 5.0,
    "+.5": 0.5,
    "-.5e3": -500.0,
    "1_000": 1000,
    "1_000.5": 1000.5,
    "1__0": 10,
    ".1_0": 0.1,
    "0o17": 15,
    "-0o17": -15,
    "+0o17": 15,
    "0O17": 15,
    "017": 15,
    "-017": -15,
    "00": 0,
    "0_0": 0,
    "089": 89.0,
    "08": 8.0,
    "0b101": 5,
    "-0b11": -3,
    "+0b1": 1,
    "0B11": 3,
    "0x1F": 31,
    "-0x1f": -31,
    "0x_1f": 31,
    "1e-400": 0.0,
    "-0": 0,
    "0.0": 0.0,
    "+1": 1,
    "9223372036854775807": 2**63 - 1,
    "-9223372036854775808": -(2**63),
    "-9223372036854775809": -9223372036854775809.0,
    "12345678901234567890": 12345678901234567890,
    "18446744073709551616": 18446744073709551616.0,
    "123456789012345678901234567890": 1.2345678901234568e29,
    "!!int '5'": 5,
    "!!float 1": 1.0,
    "!!float '1e3'": 1000.0,
}
TEXTS: dict[str, str] = {
    **{
        text: text
        for text in (
            *("yes", "Yes", "no", "on", "off", "y", "n", "tRue", "nULL", "NO"),
            *(
                "_1",
                "0x1p-2",
                ".5p1",
                ".e5",
                "._1",
                ".1__0",
                "1e400",
                "--1",
                "+",
                ".",
                "1.2.3",
                "1e",
                "1e+",
                "e5",
            ),
            *("0x", "0o8", "0b2", "1:30", "190:20:30", "1:30:45.5", ".Infinity", "+.nan", "=", "<<"),
            *("2024-02-31", "2024-01-01T10:00", "2024-01-01 10:00:00 -5", "2024-01-01T10:00:00"),
        )
    },
    "0x" + "f" * 5000: "0x" + "f" * 5000,
    "9" * 5000: "9" * 5000,
    '"0.5"': "0.5",
    "'1'": "1",
    '"yes"': "yes",
    "!!str 1": "1",
    "!!str yes": "yes",
    "!foo 1": "1",
    "!!binary aGVsbG8=": "hello",
    "2024-01-01": "2024-01-01T00:00:00Z",
    "2024-1-1": "2024-01-01T00:00:00Z",
    "2024-01-01T10:00:00Z": "2024-01-01T10:00:00Z",
    "2024-01-01t10:00:00.50+02:00": "2024-01-01T10:00:00.5+02:00",
    "2024-01-01 10:00:00": "2024-01-01T10:00:00Z",
    "!!timestamp 2024-01-01": "2024-01-01T00:00:00Z",
}
OTHERS: dict[str, Any] = {
    **dict.fromkeys(("true", "True", "TRUE", "!!bool 'true'"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys(("null", "Null", "NULL", "~", "", "!!null ''"), None),
    "[1, yes, 1e3]": [1, "yes", 1000.0],
    "!!set {a, b}": {"a": None, "b": None},
    "!foo {Aa: !bar [1]}": {"Aa": [1]},
}


def parsed(folder: Path, text: str) -> Any:
    file = folder / "file.yaml"
    file.write_text(text, "utf-8")
    return parse_yaml(file).value


@pytest.mark.parametrize(
    ("text", "value"), [*NUMBERS.items(), *TEXTS.items(), *OTHERS.items()], ids=lambda v: str(v)[:30]
)
def test_a_plain_scalar_has_the_value_that_yaml_v3_gives(tmp_path: Path, text: str, value: Any):
    found = parsed(tmp_path, f"k: {text}\n")["k"]
    assert (found, type(found)) == (value, type(value))


def test_a_key_keeps_its_case_and_words_of_yaml_1_1_are_keys(tmp_path: Path):
    assert parsed(tmp_path, "{SPOIntent: 1, yes: 2, on: {Off: 3}}") == {
        "SPOIntent": 1,
        "yes": 2,
        "on": {"Off": 3},
    }


@pytest.mark.parametrize(
    "text", ["!!bool yes", "!!int 1.5", "!!float x", "!!timestamp x", "!!binary '*'", "!!python/none x"]
)
def test_a_scalar_that_is_not_of_its_explicit_type_is_an_error_with_its_line(tmp_path: Path, text: str):
    with pytest.raises(SettingsError, match=r"not valid YAML") as caught:
        parsed(tmp_path, f"a: 1\nb: {text}\n")
    assert caught.value.line == 2


@pytest.mark.parametrize("text", [".nan", ".NaN", ".inf", "-.INF", "+.Inf"])
def test_what_json_cannot_represent_is_refused(tmp_path: Path, text: str):
    with pytest.raises(SettingsError, match="cannot be represented in JSON"):
        parsed(tmp_path, f"k: {text}\n")


class Item(msgspec.Struct, kw_only=True):
    n: float | None = None
    name: str = ""


class Types(msgspec.Struct, kw_only=True):
    f: float | msgspec.UnsetType = 0
    i: Annotated[int, msgspec.Meta(ge=0)] = 0
    b: bool = False
    s: str = ""
    l: tuple[str, ...] = ()  # noqa: E741
    items: tuple[Item, ...] = ()


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("f", '"0.5"', 0.5),
        ("f", "'1e5'", 1e5),
        ("f", "'1_000'", 1000),
        ("i", "'0x10'", 16),
        ("i", "'1_000'", 1000),
        ("i", "1e5", 100000),
        *(("b", text, True) for text in ("true", "yes", "Yes", "on", "y", "'t'", "T", "'1'", "1")),
        *(("b", text, False) for text in ("false", "no", "OFF", "n", "'f'", "'0'", "0")),
        ("s", "1e5", "100000"),
        ("s", "1e-5", "0.00001"),
        ("s", "1e21", "1000000000000000000000"),
        ("s", "100000.0", "100000"),
        ("s", "1234567.125", "1234567.125"),
        ("s", "0o17", "15"),
        ("s", "true", "1"),
        ("s", "yes", "yes"),
        ("l", "[1, yes, 1e3]", ("1", "yes", "1000")),
        ("l", "'a, b'", ("a", "b")),
        ("items", "[{N: '0.5', NAME: 1}]", (Item(n=0.5, name="1"),)),
    ],
)
def test_a_scalar_becomes_the_type_that_its_key_has(tmp_path: Path, key: str, text: str, value: Any):
    section = parsed(tmp_path, f"{key}: {text}\n")
    assert getattr(convert_section(section, Types, "", strict=False), key) == value


@pytest.mark.parametrize(
    ("key", "text"), [("f", "yes"), ("f", "' 0.5'"), ("i", "1.5"), ("i", "'x'"), ("b", "maybe")]
)
def test_a_scalar_that_stands_for_no_value_of_the_type_is_an_error(tmp_path: Path, key: str, text: str):
    with pytest.raises(SettingsError, match=f"^{key}: expected"):
        convert_section(parsed(tmp_path, f"{key}: {text}\n"), Types, "", strict=False)


ANCHORS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 1}]\n" for n in range(9))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        (
            "a: &x {b: [1, 2]}\nc: *x\nd: [*x, *x]",
            {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}, "d": [{"b": [1, 2]}] * 2},
        ),
        ("a: &x {b: 1}\nc: {<<: *x, d: 2}", {"a": {"b": 1}, "c": {"b": 1, "d": 2}}),
        ("a: &y [1]\nb: &x 1\nc: [*x, *y]", {"a": [1], "b": 1, "c": [1, [1]]}),
        ("a: !mine {b: 1}", {"a": {"b": 1}}),
        ("a: !mine [1]", {"a": [1]}),
        ("1: a", {1: "a"}),
        ("a: !!str 1", {"a": "1"}),
        ("a: !!float 1", {"a": 1.0}),
        ("a: [true, null, ~, 'true', 1.5, 0x10]", {"a": [True, None, None, "true", 1.5, 16]}),
    ],
)
def test_documents_of_every_shape_are_read(tmp_path: Path, text: str, value: Any):
    assert parsed(tmp_path, text) == value


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\na: 2", "a: given twice, here and on line 1; keep one of them."),
        ("b: [{a: 1, a: 2}]", "a: given twice"),
        ("a: .inf", "inf cannot be represented in JSON; remove it."),
        ("a: &x [*x]", "a value that contains itself; check its aliases."),
        ("a: &x 1\nb: &x 2", "not valid YAML: found duplicate anchor"),
        ("a: *x", "not valid YAML: found undefined alias"),
        ("a: 1\n--- b", "expected a single document in the stream"),
        (ANCHORS, "more than 200000 values"),
        ("[" * 3000 + "]" * 3000, "not valid YAML"),
    ],
)
def test_documents_that_cannot_be_used_are_refused(tmp_path: Path, text: str, message: str):
    with pytest.raises(SettingsError) as caught:
        parsed(tmp_path, text)
    assert message in caught.value.message


def test_a_file_is_parsed_in_a_multiple_of_its_size(tmp_path: Path):
    """A tree of nodes, or a buffer for the largest file allowed, would stay in the memory of a server as holes."""
    benchmark = "- {id: b, name: a name, category: test, metrics: [acc, f1], tags: [a, b]}\n"
    text = f"benchmarks:\n{benchmark * 300}"
    parsed(tmp_path, text)
    tracemalloc.start()
    try:
        parsed(tmp_path, text)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30 * len(text)
