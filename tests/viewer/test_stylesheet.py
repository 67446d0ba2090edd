"""The style sheet: contrast of its tokens, and classes that the code uses."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from evalhub_server import viewer

STYLES = Path(viewer.__file__).with_name("static").joinpath("viewer.css").read_text("utf-8")
TOKENS = re.compile(r"--([\w-]+):\s*(#[0-9a-f]{6})\b")


def palettes() -> dict[str, dict[str, str]]:
    """The colours of the themes; the dark one is defined for a choice and for the system's setting."""
    blocks = re.findall(r"^\s*(:root[^{\n]*)\{([^}]*color-scheme[^}]*)\}", STYLES, re.MULTILINE)
    found = {selector.strip(): dict(TOKENS.findall(body)) for selector, body in blocks}
    return {selector: tokens for selector, tokens in found.items() if "bg" in tokens and "link" in tokens}


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2.2)."""
    levels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


def test_the_dark_theme_is_the_same_by_choice_and_by_system():
    light, *dark = palettes().values()
    assert len(dark) == 2
    assert dark[0] == dark[1]
    assert set(light) == set(dark[0])


@pytest.mark.parametrize("theme", palettes())
def test_text_has_a_contrast_of_4_5(theme: str, subtests: pytest.Subtests):
    tokens = palettes()[theme]
    names = ("text", "muted", "link", "ok", "bad", "warn", "run", "magenta")
    pairs = [*product(names, ("bg", "surface")), *product(("text",), ("inserted", "deleted", "flag"))]
    for text, background in pairs:
        with subtests.test(text=text, background=background):
            assert contrast(tokens[text], tokens[background]) >= 4.5


@pytest.mark.parametrize("theme", palettes())
def test_controls_and_charts_have_a_contrast_of_3(theme: str, subtests: pytest.Subtests):
    tokens = palettes()[theme]
    for name in ("control", *(f"series-{number}" for number in range(1, 7))):
        with subtests.test(name=name):
            assert contrast(tokens[name], tokens["bg"]) >= 3.0


def test_colours_are_tokens():
    rules = re.sub(r":root[^{]*\{[^}]*\}", "", STYLES)
    assert not re.findall(r"#[0-9a-fA-F]{3,8}\b(?=[^{}]*;)", rules)


def test_nothing_is_loaded_from_elsewhere():
    assert not re.search(r"url\(|@import|@font-face|//", re.sub(r"/\*.*?\*/", "", STYLES, flags=re.DOTALL))


@pytest.mark.parametrize(
    "classes",
    [
        [f"ansi-{number}" for number in range(16)],
        [f"series-{number}" for number in range(1, 7)],
        [f"outcome-{outcome}" for outcome in ("passed", "failed", "error", "unscored")],
        [f"effect-{verdict}" for verdict in ("better", "worse", "inconclusive")],
        [
            "ansi-bold",
            "axis",
            "bar",
            "break",
            "chart",
            "empty",
            "glyph",
            "grid",
            "label",
            "line",
            "margin",
            "marker",
            "note",
        ],
        ["threshold", "tick", "whisker", "zero", "chip", "invisible-badge", "visually-hidden", "muted"],
    ],
)
def test_classes_of_the_code_have_a_rule(classes: list[str]):
    styled = set(re.findall(r"\.([a-zA-Z][\w-]*)", STYLES))
    assert [name for name in classes if name not in styled] == []
