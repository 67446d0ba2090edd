"""Number and word problems with one exact answer.

The data were written for this project. Each row also has the ``expression`` that its answer was computed from.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from fractions import Fraction

from evalhub_quickstart.benchmarks.base import Benchmark, Outcome, Sample, load_rows, shares

INSTRUCTION = (
    'Work it out, then write the result on a last line of the form "Answer: <number>", without a unit.'
)

_NUMBER = re.compile(
    r"(?:(?<![\w.)])[-\u2212])?(?:\d{1,3}(?:,\d{3})+(?!\d)|\d+|(?=\.\d))(?:\.\d+)?(?:/\d+(?![\d.]))?"
)
_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")


class Arithmetic(Benchmark):
    """Scores 1 if the number in the answer is exactly right."""

    primary_mark = "accuracy"
    max_tokens = 512

    def samples(self, requests: int | None) -> list[Sample]:
        return [
            Sample(index, str(row["id"]), f"{row['question']}\n\n{INSTRUCTION}", {"answer": row["answer"]})
            for index, row in enumerate(load_rows("arithmetic.jsonl"))
        ]

    def marks(self, sample: Sample, answer: str) -> Mapping[str, bool]:
        number = read_number(answer)
        return {
            "accuracy": number is not None and number == Fraction(str(sample.expected["answer"])),
            "answer_rate": number is not None,
        }

    def metrics(self, outcomes: Sequence[Outcome], wall_s: float) -> dict[str, float]:
        return shares(outcomes, ("accuracy", "answer_rate"))


def read_number(answer: str) -> Fraction | None:
    """The number that an answer states as its result; None if there is none.

    It is the first number after the last word "answer" (behind the last equals sign of that line, if there is
    one), else the one in ``\\boxed{}``, else the last number of the text. Thousands separators, currency
    signs, units, Markdown emphasis and ratios such as 7/2 are recognized.
    """
    marked = answer.lower().rfind("answer")
    if marked >= 0:
        line = answer[marked:].strip().splitlines()[0]
        rest = line if _NUMBER.search(line) else answer[marked:]
        found = _NUMBER.search(rest.rpartition("=")[2]) or _NUMBER.search(rest)
        if found:
            return _fraction(found[0])
    boxed = _BOXED.findall(answer)
    numbers = _NUMBER.findall(boxed[-1] if boxed else answer)
    return _fraction(numbers[-1]) if numbers else None


def _fraction(text: str) -> Fraction | None:
    try:
        return Fraction(text.replace(",", "").replace("\u2212", "-"))
    except (ValueError, ZeroDivisionError):  # 5/0, or more digits than Python converts
        return None


BENCHMARK = Arithmetic()
