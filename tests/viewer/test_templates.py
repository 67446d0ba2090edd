"""Rules of the templates: everything is escaped, attributes are quoted, nothing is inline."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from jinja2 import Environment, meta, nodes

from evalhub_server import viewer
from evalhub_server.viewer.templating import GLOBALS, references

FOLDER = Path(viewer.__file__).with_name("templates")
TEMPLATES = sorted(path.name for path in FOLDER.iterdir())
JINJA = re.compile(r"\{[{%#].*?[}%#]\}", re.DOTALL)


@pytest.fixture(params=TEMPLATES)
def source(request: pytest.FixtureRequest) -> str:
    return (FOLDER / request.param).read_text("utf-8")


class Attributes(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, name) for name, _ in attrs]


def test_nothing_switches_escaping_off(source: str):
    tokens = [value for _, kind, value in Environment(autoescape=True).lex(source) if kind == "name"]
    assert not {"safe", "autoescape", "Markup"} & set(tokens)


def test_there_are_no_inline_styles_and_scripts(source: str):
    parser = Attributes()
    parser.feed(JINJA.sub(" ", source))
    inline = [(tag, name) for tag, name in parser.found if name == "style" or name.startswith("on")]
    assert inline == []
    assert not re.search(r"<style|<script(?![^>]*\bsrc=)|javascript:", source, re.IGNORECASE)


def test_attributes_with_values_are_quoted(source: str):
    text = JINJA.sub(lambda match: "" if match[0].startswith("{#") else "VALUE", source)
    tags = re.findall(r"<[a-zA-Z][^<>]*>", text)
    assert [
        tag for tag in tags if re.search(r"=\s*[^\s\"'>]", re.sub(r"\"[^\"]*\"|'[^']*'", '""', tag))
    ] == []


def test_nothing_is_loaded_from_elsewhere(source: str):
    assert not re.findall(r"(?:src|href|action)=[\"'](?:https?:)?//", source)


def test_the_key_of_a_fragment_has_all_that_it_shows(source: str):
    """Fragments are shared between requests: links to the same page need its address in the key, as ``view``."""
    for block in Environment(autoescape=True).parse(source).find_all(nodes.CallBlock):
        if not (isinstance(block.call.node, nodes.Name) and block.call.node.name == "fragment"):
            continue
        key = {each.name for argument in block.call.args for each in argument.find_all(nodes.Name)}
        key |= {argument.name for argument in block.call.args if isinstance(argument, nodes.Name)}
        names = [each for statement in block.body for each in statement.find_all(nodes.Name)]
        shown = {each.name for each in names} - {each.name for each in names if each.ctx == "store"}
        assert shown - key - {*GLOBALS, "show", "site"} == set()
        assert "site" not in shown or "view" in key


@pytest.mark.parametrize("name", TEMPLATES)
def test_references_to_other_templates(name: str):
    tree = Environment(autoescape=True).parse((FOLDER / name).read_text("utf-8"))
    assert set(references(name)) == set(meta.find_referenced_templates(tree))
