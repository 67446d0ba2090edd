"""Writing a few stock sentences that obey the instructions recognised in the prompt."""

from __future__ import annotations

import re
from collections.abc import Mapping

from evalhub_quickstart.demo.chance import draw, happens, pick

WRONG_PERCENT = 14
LONGEST = 1000

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


def write(prompt: str) -> str:
    """A short text; for some prompts one of the instructions is overlooked on purpose."""
    wanted = {name: re.findall(pattern, prompt) for name, pattern in _INSTRUCTIONS.items()}
    wanted = {name: found for name, found in wanted.items() if found}
    if wanted and happens(prompt, "writing", WRONG_PERCENT):
        del wanted[pick(prompt, "overlooked", sorted(wanted))]
    return _decorate("\n".join(_lines(prompt, wanted)), wanted)


def _lines(prompt: str, wanted: Mapping[str, list[str]]) -> list[str]:
    must = [f"Mind the {word}." for word in wanted.get("include", [])]
    banned = list(wanted.get("avoid", []))
    for found in wanted.get("repeat", []):
        word, times = re.findall(r'"([^"]+)"|(\d+)', found)
        must += [f"Mind the {word[0]}."] * min(int(times[1][:9]), LONGEST)
        banned.append(word[0])
    if "no_commas" in wanted:
        banned.append(",")
    stock = [text for text in _SENTENCES if not any(word in text for word in banned)] or ["Well."]
    start = draw(prompt, "start", len(stock))
    line_count = _number(wanted, "bullets", _number(wanted, "lines", 1))
    lines = [""] * line_count
    lines[-1] = " ".join(must)
    # A sentence may carry the text up to eight words past the aim.
    aim = min(_number(wanted, "at_least", 12), max(1, _number(wanted, "at_most", LONGEST) - 8))
    i = 0
    while not all(lines) or len(" ".join(lines).split()) < aim:
        at = lines.index("") if "" in lines else i % line_count
        lines[at] = f"{lines[at]} {stock[(start + i) % len(stock)]}".strip()
        i += 1
    return lines


def _number(wanted: Mapping[str, list[str]], name: str, default: int) -> int:
    """The number in an instruction, kept so small that no prompt can make the demo write for ever."""
    return min(int(wanted[name][0][:9]), LONGEST) if name in wanted else default


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
