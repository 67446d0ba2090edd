"""The texts of a sample as its page shows them."""

from __future__ import annotations

from typing import Any

from evalhub_server.viewer.sample_texts import (
    FOLD_CHARACTERS,
    FOLD_LINES,
    MAX_MESSAGES,
    folded,
    shown_text,
    texts_of,
)
from evalhub_server.viewer.text import DETAIL_CHARACTERS


def shown(**sample: Any):
    return texts_of(sample, diff="", whitespace="show")


def test_texts_stay_and_structures_are_indented():
    assert shown_text("a\tb") == "a\tb"
    assert shown_text(None) is None
    assert shown_text({"a": [1]}) == '{\n  "a": [\n    1\n  ]\n}'


def test_long_messages_are_folded():
    short = folded("one\ntwo")
    assert (short.start, short.rest) == ("one\ntwo", "")
    exact = folded("\n".join("x" * FOLD_LINES))
    assert exact.rest == ""
    long = folded("\n".join(map(str, range(FOLD_LINES + 3))))
    assert long.start.endswith(f"\n{FOLD_LINES - 1}")
    assert (long.rest, long.rest_lines + 1) == (f"{FOLD_LINES}\n{FOLD_LINES + 1}\n{FOLD_LINES + 2}", 4)
    wide = folded("y" * (FOLD_CHARACTERS + 5))
    assert (len(wide.start), wide.rest, wide.rest_lines) == (FOLD_CHARACTERS, "y" * 5, 0)


def test_messages_of_any_shape_are_shown():
    texts = shown(
        messages=[
            {"role": "user", "content": "hello"},
            {
                "role": "assistant",
                "content": [{"type": "text", "text": "a"}, "b", {"type": "image"}],
                "name": None,
            },
            {"role": "assistant", "content": None, "tool_calls": [{"function": "f"}]},
            {"content": {"odd": 1}},
            "only a text",
            7,
        ]
    )
    assert [each.role for each in texts.messages] == [
        "user",
        "assistant",
        "assistant",
        "without a role",
        "",
        "",
    ]
    assert texts.messages[1].text.start == 'a\nb\n{\n  "type": "image"\n}'
    assert texts.messages[1].more == ""
    assert '"tool_calls"' in texts.messages[2].more
    assert [each.text.start for each in texts.messages[3:]] == ['{\n  "odd": 1\n}', "only a text", "7"]
    many = shown(messages=["x"] * (MAX_MESSAGES + 2))
    assert (len(many.messages), many.more_messages) == (MAX_MESSAGES, 2)
    assert shown(messages="one").messages[0].text.start == "one"
    assert shown().messages == []


def test_what_a_judge_read_and_wrote_stands_apart():
    texts = shown(
        metadata={"judge_prompt": "Is it right?\nYes or no.", "Grader": "yes", "topic": "law", "none": None}
    )
    assert [(each.name, each.short) for each in texts.judge] == [("judge_prompt", False), ("Grader", True)]
    assert [(each.name, each.text) for each in texts.metadata] == [("topic", "law"), ("none", "null")]


def test_one_missing_text_leaves_the_other():
    alone = shown(output="x")
    assert (alone.expected, alone.diff) == (None, "off")
    assert alone.response is not None
    assert shown(target=["a", 1]).response is None


def test_only_short_texts_are_compared_by_default():
    assert shown(target="a b c", output="a b d").diff == "words"
    assert shown(target="a " * 3000, output="a " * 3000).diff == "off"
    assert texts_of({"target": "a " * 3000, "output": "a b"}, diff="words", whitespace="show").diff == "words"
    assert shown(target="é" * 3000, output="é" * 3000).diff == "off", "bytes count"
    long = shown(output="x" * (DETAIL_CHARACTERS + 7))
    assert "7 more characters" in (long.response or "")
