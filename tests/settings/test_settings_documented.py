"""The README and the code name the same keys and variables."""

from __future__ import annotations

import re
from pathlib import Path

from evalhub_server.plugins.discovery import load_plugins
from evalhub_server.settings import CORE_SECTIONS, ENVIRONMENT, NO_EFFECT, key_paths

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
REFERENCE = README.partition("### config.yaml")[2].partition("### Providers")[0]
WORDS_OF_THE_CORE = {"env_mappings", "secrets.dir", "secrets.mappings"}


def first_cells(table_head: str) -> set[str]:
    """What stands in backquotes in the first column of a table."""
    rows = REFERENCE.partition(table_head)[2].partition("\n\n")[0].splitlines()
    return {word for row in rows for word in re.findall(r"`([^`]+)`", row.split("|")[1] if row else "")}


def keys_of_the_code() -> set[str]:
    keys = {path for name, type_ in CORE_SECTIONS.items() for path in key_paths(type_, name)}
    first_party = load_plugins(environ={"EVALHUB_LOAD_PLUGINS": ""}).sections()
    keys |= {
        path for name, types in first_party.items() for type_ in types for path in key_paths(type_, name)
    }
    return keys


def test_every_key_that_does_something_is_in_the_table_and_none_else():
    idle = {
        key
        for key in keys_of_the_code()
        for mark in NO_EFFECT
        if key == mark or (mark.endswith("*") and key.startswith(mark[:-1]))
    }
    assert first_cells("| key | default | meaning |") == keys_of_the_code() - idle | WORDS_OF_THE_CORE


def test_every_variable_stands_with_its_key():
    rows = REFERENCE.partition("| variable | key |")[2].partition("\n\n")[0].splitlines()
    named: dict[str, str] = {}
    for row in rows[2:]:
        variables, keys = (re.findall(r"`([^`]+)`", cell) for cell in row.split("|")[1:3])
        named |= dict(zip(variables, keys, strict=True))
    assert named == dict(ENVIRONMENT)


def test_every_key_without_effect_is_listed():
    text = REFERENCE.partition("do nothing (yet):")[2].partition("\n\n")[0]
    assert set(re.findall(r"`([^`]+)`", text)) == set(NO_EFFECT)
