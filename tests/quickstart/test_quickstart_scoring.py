"""Scorers and statistics as tables, and the bundled data against them."""

from __future__ import annotations

import math
from fractions import Fraction
from random import Random

import pytest

from evalhub_common.adapter.completions import read_choice
from evalhub_common.adapter.json_values import JsonObject
from evalhub_common.adapter.model_client import retry_delay_s
from evalhub_common.adapter.model_errors import error_message
from evalhub_quickstart.benchmarks import BENCHMARK_IDS, select_benchmark
from evalhub_quickstart.benchmarks.arithmetic import read_number
from evalhub_quickstart.benchmarks.base import load_rows, visible_answer
from evalhub_quickstart.benchmarks.constraints import count_words, holds
from evalhub_quickstart.benchmarks.json_format import adheres
from evalhub_quickstart.stats import clustered_stderr, mean_stderr, percentile, share_stderr, wilson_interval


@pytest.mark.parametrize(
    ("answer", "number"),
    [
        ("Answer: 42", "42"),
        ("answer is 42.", "42"),
        ("6 times 7 is 42\n\n**Answer:** 42", "42"),
        ("Answer: **-9** degrees", "-9"),
        ("Answer: \u22129", "-9"),
        ("Answer: 1,050 grams", "1050"),
        ("Answer: 12,345,678.5", "12345678.5"),
        ("Answer: $68.00", "68"),
        ("Answer: 7/2", "3.5"),
        ("Answer: .75", "0.75"),
        ("Answer: 84 km/h", "84"),
        ("Answer: 6 * 7 = 42", "42"),
        ("Answer: x = 3", "3"),
        ("Answer:\n\n42", "42"),
        ("The first answer was 3. Final answer: 5", "5"),
        ("Answer: <number> 17", "17"),
        (r"So it is $\boxed{1{,}2}$ or \boxed{12}", "12"),
        ("We add 3 and 4, which makes 7", "7"),
        ("10-4 makes 6", "6"),
        ("12345", "12345"),
        ("no idea", None),
        ("", None),
        ("Answer: five", None),
        ("Answer: 5/0", None),
        ("Answer: " + "9" * 5000, None),
    ],
)
def test_the_number_of_an_answer(answer: str, number: str | None) -> None:
    assert read_number(answer) == (None if number is None else Fraction(number))


@pytest.mark.parametrize(
    ("constraint", "good", "bad"),
    [
        ({"kind": "words", "at_most": 3}, ["one two three", "- a b c"], ["one two three four", ""]),
        ({"kind": "words", "at_least": 2, "at_most": 3}, ["a b", "a - b, c!"], ["a", "a b c d"]),
        ({"kind": "case", "case": "lower"}, ["all small, 7!"], ["One", "123", ""]),
        ({"kind": "case", "case": "upper"}, ["ALL BIG, 7!"], ["BIg", "123"]),
        ({"kind": "include", "word": "owl"}, ["An Owl.", "owl"], ["owls", "bowl", ""]),
        ({"kind": "avoid", "word": "fun"}, ["funny funds"], ["What FUN!", ""]),
        ({"kind": "repeat", "word": "boat", "times": 2}, ["Boat, boats, boat."], ["boat", "boat boat boat"]),
        ({"kind": "bullets", "count": 2}, ["- a\n- b", "Here:\n- a\n  - b"], ["- a", "* a\n* b", "-a\n-b"]),
        ({"kind": "lines", "count": 2}, ["a\nb", "a\n\nb"], ["a", "a\nb\nc"]),
        ({"kind": "starts_with", "text": "In spring"}, ["In spring it"], ["in spring", "Well, In spring"]),
        ({"kind": "ends_with", "text": "bye."}, ["Good bye."], ["bye. Now", "Bye."]),
        ({"kind": "no_commas"}, ["a b"], ["a, b", ""]),
        ({"kind": "quoted"}, ['"yes"', "\u201cyes\u201d"], ['"yes', 'say "yes"', '"']),
    ],
)
def test_a_constraint(constraint: JsonObject, good: list[str], bad: list[str]) -> None:
    assert [text for text in good if not holds(constraint, text)] == []
    assert [text for text in bad if holds(constraint, text)] == []


def test_words_need_a_letter_or_a_digit() -> None:
    assert count_words("- one \u2013 two, 3 ...") == 3


@pytest.mark.parametrize(
    ("value", "fits"),
    [
        ({"name": "a", "age": 3, "tags": ["x"], "size": "small"}, True),
        ({"name": "a", "age": 3.0, "tags": [], "size": "large"}, True),
        ({"name": "a", "age": 3.5, "tags": [], "size": "large"}, False),
        ({"name": "a", "age": True, "tags": [], "size": "large"}, False),
        ({"name": "a", "age": 3, "tags": [1], "size": "small"}, False),
        ({"name": "a", "age": 3, "tags": "x", "size": "small"}, False),
        ({"name": None, "age": 3, "tags": [], "size": "small"}, False),
        ({"name": "a", "age": 3, "tags": [], "size": "medium"}, False),
        ({"name": "a", "age": 3, "tags": []}, False),
        ({"name": "a", "age": 3, "tags": [], "size": "small", "more": 1}, False),
        ([], False),
        ("text", False),
    ],
)
def test_adherence_to_a_schema(value: object, fits: bool) -> None:
    schema: JsonObject = {
        "name": "string",
        "age": "integer",
        "tags": "list of strings",
        "size": ["small", "large"],
    }
    assert adheres(value, schema) is fits


@pytest.mark.parametrize(
    ("answer", "valid", "bare", "adhering"),
    [
        ('{"a": 1}', True, True, True),
        ('```json\n{"a": 1}\n```', True, False, True),
        ('```\n{\n "a": 1.5\n}\n```', True, False, True),
        ('{"a": "1"}', True, True, False),
        ("[1]", True, True, False),
        ('Sure: {"a": 1}', False, False, False),
        ('{"a": NaN}', False, False, False),
        ("{'a': 1}", False, False, False),
        ("", False, False, False),
    ],
)
def test_json_answers(answer: str, valid: bool, bare: bool, adhering: bool) -> None:
    benchmark = select_benchmark("json_format")
    sample = benchmark.samples(None)[0]
    marks = benchmark.marks(type(sample)(0, "s", "p", {"schema": {"a": "number"}}), answer)
    assert marks == {"valid_json": valid, "bare_json": bare, "schema_adherence": adhering}


def test_the_visible_answer_is_without_reasoning() -> None:
    assert visible_answer(" <think>a</think>b</think>\n c ") == "b</think>\n c"
    assert visible_answer("say <think>x</think>") == "say <think>x</think>"


@pytest.mark.parametrize(("yes", "total"), [(1, 2), (3, 4), (46, 50), (0, 10), (10, 10)])
def test_the_standard_error_of_a_share_is_binomial(yes: int, total: int) -> None:
    share = yes / total
    expected = math.sqrt(share * (1 - share) / (total - 1))
    assert mean_stderr([1.0] * yes + [0.0] * (total - yes)) == pytest.approx(expected, abs=1e-15)


def test_standard_errors() -> None:
    assert mean_stderr([1.0]) is None
    assert mean_stderr([2.0, 4.0, 9.0]) == pytest.approx(math.sqrt(13 / 3))
    assert clustered_stderr([[1.0, 0.0]]) is None
    assert clustered_stderr([[1.0, 1.0], [0.0, 0.0]]) == pytest.approx(math.sqrt(2) / 4)
    # Clusters of one value each: the plain error with divisor n.
    values = [1.0, 0.0, 0.0, 1.0, 1.0]
    plain = mean_stderr(values)
    assert plain is not None
    assert clustered_stderr([[value] for value in values]) == pytest.approx(plain * math.sqrt(4 / 5))


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [([5.0], 0.95, 5.0), ([1.0, 2.0], 0.5, 1.5), ([4.0, 1.0, 3.0, 2.0], 0.5, 2.5), ([0.0, 10.0], 0.95, 9.5)],
)
def test_percentiles_interpolate(values: list[float], share: float, expected: float) -> None:
    assert percentile(values, share) == pytest.approx(expected)


def seeded() -> Random:
    return Random(1)  # noqa: S311  the same numbers every time are the point


def test_waits_between_attempts_grow_to_a_limit_and_are_seeded() -> None:
    waits = [retry_delay_s(attempt, None, seeded()) for attempt in range(1, 12)]
    assert waits == [retry_delay_s(attempt, None, seeded()) for attempt in range(1, 12)]
    for attempt, wait in enumerate(waits):
        longest = min(0.2 * 2**attempt, 10)
        assert longest / 2 <= wait <= longest


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("0", 0),
        ("7", 7),
        ("3600", 30),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 30),
    ],
)
def test_retry_after_is_honoured_up_to_a_limit(header: str, wait: float) -> None:
    assert retry_delay_s(1, header, seeded()) == wait


@pytest.mark.parametrize("header", ["soon", "-1", ""])
def test_a_retry_after_that_makes_no_sense_is_ignored(header: str) -> None:
    assert 0.1 <= retry_delay_s(1, header, seeded()) <= 0.2


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": {"message": "bad\\n key."}}', "bad key"),
        (b'{"error": "plain"}', "plain"),
        (b'{"message": "m", "detail": "d"}', "m"),
        (b'{"detail": "d"}', "d"),
        (b"\xff<html>", "\ufffd<html>"),
        (b"", ""),
    ],
)
def test_the_text_of_an_error_body(body: bytes, text: str) -> None:
    assert error_message(body) == text


@pytest.mark.parametrize(
    ("body", "completion"),
    [
        (b'{"choices": [{"message": {"content": "a"}}], "usage": {"completion_tokens": 3}}', ("a", 3)),
        (b'{"choices": [{"message": {"content": null}}], "usage": null}', ("", None)),
        (b'{"choices": [{"message": {"content": [{"text": "a"}, {"x": 1}, {"text": "b"}]}}]}', ("ab", None)),
        (b'{"choices": [{"text": "a"}]}', None),
        (b'{"choices": {}}', None),
        (b"[]", None),
        (b"\xff", None),
    ],
)
def test_reading_a_completion(body: bytes, completion: tuple[str, int | None] | None) -> None:
    choice = read_choice(body, chat=True)
    assert (choice and (choice.text, choice.output_tokens)) == completion


def test_the_bundled_answers_equal_their_expressions() -> None:
    rows = load_rows("arithmetic.jsonl")
    for row in rows:
        value = eval(str(row["expression"]), {"__builtins__": {}})  # noqa: S307  arithmetic of our own data
        assert value == pytest.approx(float(str(row["answer"]))), row
        assert str(row["answer"]).lstrip("-").replace(".", "").isdecimal()


@pytest.mark.parametrize("benchmark_id", BENCHMARK_IDS)
def test_the_bundled_samples_are_distinct_and_can_be_scored(benchmark_id: str) -> None:
    benchmark = select_benchmark(benchmark_id)
    samples = benchmark.samples(None)
    assert 40 <= len(samples) <= 60
    assert (
        len({sample.id for sample in samples}) == len({sample.prompt for sample in samples}) == len(samples)
    )
    assert [sample.index for sample in samples] == list(range(len(samples)))
    for sample in samples:
        marks = benchmark.marks(sample, "something")
        assert benchmark.primary_mark in marks
        if benchmark_id != "latency":
            assert not benchmark.marks(sample, "")[benchmark.primary_mark]


@pytest.mark.parametrize(
    ("yes", "total", "low", "high"),
    [(40, 40, 0.91237, 1.0), (0, 40, 0.0, 0.08763), (27, 34, 0.63201, 0.89653), (1, 1, 0.20655, 1.0)],
)
def test_the_interval_of_a_share_is_wilsons(yes: int, total: int, low: float, high: float) -> None:
    assert wilson_interval(yes, total) == pytest.approx((low, high), abs=1e-4)


def test_a_share_has_a_standard_error_also_if_all_are_right() -> None:
    assert share_stderr(1, 1) is None
    assert share_stderr(40, 40) == pytest.approx(0.02235, abs=1e-4)
    assert share_stderr(30, 100) == pytest.approx(mean_stderr([1.0] * 30 + [0.0] * 70), rel=0.03)
