"""The demo model: rules that answer the prompts of the bundled benchmarks, as a stand-in for a language model.

It serves to try the whole pipeline without a model, a download or an API key. It recognizes the phrasings of the bundled
benchmarks; any other prompt gets a few stock sentences. It has no access to the data files and their expected answers.
So that metrics look like metrics, it answers a fixed share of the prompts wrongly, chosen by a hash of the prompt: equal
prompts get equal answers. Its scores say nothing about any model.
"""

from __future__ import annotations

import ast
import json
import operator
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal, TypeVar

MODEL_NAME = "quickstart-demo"
WRONG_NUMBERS_PERCENT = 12
WRONG_OBJECTS_PERCENT = 12
FENCED_OBJECTS_PERCENT = 12
WRONG_TEXTS_PERCENT = 14
MAX_COUNT = 1000
"""No number in a prompt makes an answer longer."""

_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Reply:
    """An answer in words with the space before them, which count as tokens, since there is no tokenizer."""

    words: Sequence[str]
    finish_reason: Literal["stop", "length"]
    prompt_tokens: int

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.words)


def reply_to(prompt: str, max_tokens: int | None) -> Reply:
    """Answer ``prompt`` with at most ``max_tokens`` words; None means no limit."""
    if "Answer: <number>" in prompt:
        text = _solve(prompt)
    elif "JSON" in prompt:
        text = _make_object(prompt)
    else:
        text = _write(prompt)
    words = re.findall(r"\s*\S+", text)
    cut = max_tokens is not None and len(words) > max_tokens
    if cut:
        words = words[:max_tokens]
    return Reply(words, "length" if cut else "stop", len(prompt.split()))


_Numbers = list[Fraction]

_FORMULAS: tuple[tuple[str, Callable[[_Numbers], Fraction]], ...] = (
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


def _solve(prompt: str) -> str:
    """An answer with the last line ``Answer: <number>``; the sum of all numbers where no rule applies."""
    question = prompt.split("\n\n", maxsplit=1)[0]
    numbers = [Fraction(text) for text in re.findall(r"(?:(?<!\S)-)?\d{1,15}(?:\.\d{1,15})?", question)]
    try:
        result = _solution(question, numbers)
    except (IndexError, ZeroDivisionError, SyntaxError, KeyError, ValueError, RecursionError, MemoryError):
        result = sum(numbers, Fraction())
    if _happens(prompt, "arithmetic", WRONG_NUMBERS_PERCENT):
        result += 1 + _draw(prompt, "slip", 9)
    return f"The numbers given are {', '.join(map(_number_text, numbers)) or 'none'}.\n\nAnswer: {_number_text(result)}"


def _solution(question: str, numbers: _Numbers) -> Fraction:
    for pattern, formula in _FORMULAS:
        if re.search(pattern, question):
            return formula(numbers)
    expression = re.search(r"[-(\d][-+*/(). \d]*[\d)]", question)
    return _evaluated(ast.parse(expression[0], mode="eval").body) if expression else Fraction()


def _evaluated(node: ast.expr) -> Fraction:
    """The value of an expression of numbers and the four operations. Raises KeyError for anything else."""
    if isinstance(node, ast.BinOp):
        return _OPERATORS[type(node.op)](_evaluated(node.left), _evaluated(node.right))
    if isinstance(node, ast.UnaryOp):
        return -_evaluated(node.operand)
    if isinstance(node, ast.Constant):
        return Fraction(str(node.value))
    raise KeyError(type(node).__name__)


def _number_text(number: Fraction) -> str:
    return str(number) if number.denominator == 1 else f"{float(number):.10g}"


_INLINE = re.compile(r'"(\w+)" \(([^)]+)\)')
_LISTED = re.compile(r"^- (\w+): (.+)$", re.MULTILINE)
_NAMES = ("amber", "birch", "cobalt", "delta", "ember", "fjord", "grove", "harbour")


def _make_object(prompt: str) -> str:
    """A JSON object for the prompt, sometimes in a fence, sometimes wrong on purpose."""
    found: list[tuple[str, str]] = _INLINE.findall(prompt) or _LISTED.findall(prompt)
    value = {key: _object_value(prompt, key, kind) for key, kind in found}
    fault = (
        _pick(prompt, "fault", ("key", "type", "prose"))
        if _happens(prompt, "json", WRONG_OBJECTS_PERCENT)
        else None
    )
    if fault == "key" and value:
        value.popitem()
    if fault == "type" and value:
        value[next(iter(value))] = None
    text = json.dumps(value)
    if fault == "prose":
        return f"Here is the object that you asked for: {text}"
    return f"```json\n{text}\n```" if _happens(prompt, "fence", FENCED_OBJECTS_PERCENT) else text


def _object_value(prompt: str, key: str, kind: str) -> object:
    number = _draw(prompt, key, 90) + 1
    choices: list[str] = re.findall(r'"([^"]+)"', kind) if kind.startswith("one of") else []
    if choices:
        return _pick(prompt, key, choices)
    if kind == "boolean":
        return number % 2 == 0
    if kind == "integer":
        return number
    if kind == "number":
        return number / 4
    if kind == "list of integers":
        return [number, number + 1]
    if kind == "list of strings":
        return [_pick(prompt, key + part, _NAMES) for part in ("first", "second")]
    return _pick(prompt, key, _NAMES)


_SENTENCES = (
    "There is more to it than one sees.",
    "Small things make the difference here.",
    "It is quiet, plain and easy to like.",
    "Nobody needs to hurry at this point.",
    "One notices it only after a while.",
    "That is how it has always been done.",
    "A little patience goes a long way.",
    "It starts slowly, then it gets better.",
)

_INSTRUCTIONS = {
    "at_most": r"(?:at most|Keep it to) (\d+) words",
    "at_least": r"(?:at least|no fewer than) (\d+) words",
    "lower": r"(lower case|any capital letters)",
    "upper": r"(in capital letters|upper case)",
    "repeat": r'[Tt]he word ("[^"]+" (?:has to appear )?exactly \d+) times',
    "include": r'(?:Include the|The) word "([^"]+)"(?: has to appear)?\.',
    "avoid": r'(?:not use|Avoid) the word "([^"]+)"',
    "bullets": r"exactly (\d+) bullet lines",
    "lines": r"exactly (\d+) lines of text",
    "starts_with": r'(?:Begin your reply with|first words have to be) "([^"]+)"',
    "ends_with": r'(?:Finish with the exact words|End your reply with) "([^"]+)"',
    "no_commas": r"(any commas|all commas)",
    "quoted": r"(double quotation marks)",
}


def _write(prompt: str) -> str:
    """A short text; for some prompts one of the instructions is ignored on purpose."""
    wanted = {name: re.findall(pattern, prompt) for name, pattern in _INSTRUCTIONS.items()}
    wanted = {name: found for name, found in wanted.items() if found}
    if wanted and _happens(prompt, "writing", WRONG_TEXTS_PERCENT):
        del wanted[_pick(prompt, "overlooked", sorted(wanted))]
    return _decorate("\n".join(_text_lines(prompt, wanted)), wanted)


def _text_lines(prompt: str, wanted: Mapping[str, list[str]]) -> list[str]:
    must = [f"Mind the {word}." for word in wanted.get("include", [])]
    banned = list(wanted.get("avoid", []))
    for found in wanted.get("repeat", []):
        word, times = re.findall(r'"([^"]+)"|(\d+)', found)
        must += [f"Mind the {word[0]}."] * min(int(times[1][:9]), MAX_COUNT)
        banned.append(word[0])
    if "no_commas" in wanted:
        banned.append(",")
    stock = [text for text in _SENTENCES if not any(word in text for word in banned)] or ["Well."]
    start = _draw(prompt, "start", len(stock))
    line_count = _count_in(wanted, "bullets", _count_in(wanted, "lines", 1))
    lines = [""] * line_count
    lines[-1] = " ".join(must)
    # A sentence may carry the text up to eight words past the minimum.
    minimum = min(_count_in(wanted, "at_least", 12), max(1, _count_in(wanted, "at_most", MAX_COUNT) - 8))
    i = 0
    while not all(lines) or len(" ".join(lines).split()) < minimum:
        index = lines.index("") if "" in lines else i % line_count
        lines[index] = f"{lines[index]} {stock[(start + i) % len(stock)]}".strip()
        i += 1
    return lines


def _count_in(wanted: Mapping[str, list[str]], name: str, default: int) -> int:
    """The number in an instruction, kept so small that no prompt can make an answer endless."""
    return min(int(wanted[name][0][:9]), MAX_COUNT) if name in wanted else default


def _decorate(text: str, wanted: Mapping[str, list[str]]) -> str:
    if "bullets" in wanted:
        text = "\n".join(f"- {line}" for line in text.split("\n"))
    if "lower" in wanted:
        text = text.lower()
    if "upper" in wanted:
        text = text.upper()
    if "starts_with" in wanted:
        text = f"{wanted['starts_with'][0]}: {text}"
    if "ends_with" in wanted:
        text = f"{text} {wanted['ends_with'][0]}"
    return f'"{text}"' if "quoted" in wanted else text


def _draw(prompt: str, purpose: str, bound: int) -> int:
    """A number from 0 to ``bound`` - 1; another ``purpose`` gives another number for the same prompt."""
    return zlib.crc32(f"{purpose}\n{prompt}".encode()) % bound


def _happens(prompt: str, purpose: str, percent: int) -> bool:
    """True for about ``percent`` of all prompts."""
    return _draw(prompt, purpose, 100) < percent


def _pick(prompt: str, purpose: str, items: Sequence[_Item]) -> _Item:
    """One of ``items``."""
    return items[_draw(prompt, purpose, len(items))]
