"""Solving number and word problems by keyword: find the numbers, and the formula that goes with the words."""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Callable
from fractions import Fraction

from evalhub_quickstart.demo.chance import draw, happens

WRONG_PERCENT = 12

Numbers = list[Fraction]

_RULES: tuple[tuple[str, Callable[[Numbers], Fraction]], ...] = (
    (r"remainder when", lambda n: n[0] % n[1]),
    (r"square of", lambda n: n[0] * n[0]),
    (r"average of", lambda n: sum(n, Fraction()) / len(n)),
    (r"(%|percent) of", lambda n: n[0] * n[1] / 100),
    (r"reduced by", lambda n: n[0] - n[0] * n[1] / 100),
    (r"three quarters of", lambda n: n[0] * 3 / 4),
    (r"two thirds of", lambda n: n[0] * 2 / 3),
    (r"minutes are there in", lambda n: n[0] * 60 + n[1]),
    (r"leaves at .* arrives at", lambda n: n[2] * 60 + n[3] - n[0] * 60 - n[1]),
    (r"rectangle.* area", lambda n: n[0] * n[1]),
    (r"rectangle.* perimeter", lambda n: 2 * (n[0] + n[1])),
    (r"risen by", lambda n: n[0] + n[1]),
    (r"fallen by", lambda n: n[0] - n[1]),
    (r"shared equally|cut into pieces", lambda n: n[0] / n[1]),
    (r"per hour for", lambda n: n[0] * n[1]),
    (r"flow out", lambda n: n[0] - n[1] * n[2]),
    (r"people needs", lambda n: n[1] / n[0] * n[2]),
    (r"times as old", lambda n: n[0] * n[1] + n[2]),
    (r"a day.* weeks", lambda n: n[0] * 7 * n[1]),
    (r"for an adult", lambda n: n[0] * n[2] + n[1] * n[3]),
    (r"buys .* packets .* gives", lambda n: n[0] + n[1] * n[2] - n[3]),
    (r"each and sells", lambda n: n[0] * n[1] - n[2]),
    (r"in all\?", lambda n: n[0] * n[1] + n[2] * n[3]),
)

_OPERATORS: dict[type[ast.operator], Callable[[Fraction, Fraction], Fraction]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: lambda left, right: left / right,
}


def solve(prompt: str) -> str:
    """An answer that ends in a line ``Answer: <number>``; a guess where no rule fits."""
    question = prompt.split("\n\n", maxsplit=1)[0]
    numbers = [Fraction(text) for text in re.findall(r"(?:(?<!\S)-)?\d{1,15}(?:\.\d{1,15})?", question)]
    try:
        result = _result(question, numbers)
    except (IndexError, ZeroDivisionError, SyntaxError, KeyError, ValueError, RecursionError, MemoryError):
        result = sum(numbers, Fraction())
    if happens(prompt, "arithmetic", WRONG_PERCENT):
        result += 1 + draw(prompt, "slip", 9)
    return f"The numbers given are {', '.join(map(_show, numbers)) or 'none'}.\n\nAnswer: {_show(result)}"


def _result(question: str, numbers: Numbers) -> Fraction:
    for pattern, formula in _RULES:
        if re.search(pattern, question):
            return formula(numbers)
    expression = re.search(r"[-(\d][-+*/(). \d]*[\d)]", question)
    return _evaluate(ast.parse(expression[0], mode="eval").body) if expression else Fraction()


def _evaluate(node: ast.expr) -> Fraction:
    """The value of an expression of numbers and the four operations. Raises KeyError for anything else."""
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_evaluate(node.left), _evaluate(node.right))
    if isinstance(node, ast.UnaryOp):
        return -_evaluate(node.operand)
    if isinstance(node, ast.Constant):
        return Fraction(str(node.value))
    raise KeyError(type(node).__name__)


def _show(number: Fraction) -> str:
    return str(number) if number.denominator == 1 else f"{float(number):.10g}"
