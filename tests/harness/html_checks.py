"""Checks of HTML without a browser: structure, and what a page must never contain."""

from __future__ import annotations

import unicodedata
from html.parser import HTMLParser
from urllib.parse import urlsplit

VOID = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
    ]
)
OPTIONAL_END = frozenset(
    {"p", "li", "option", "dt", "dd", "tr", "td", "th", "path", "circle", "rect", "line"}
)
URL_ATTRIBUTES = frozenset(
    {"href", "src", "srcset", "action", "formaction", "xlink:href", "data", "poster", "ping"}
)
INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
ALLOWED = frozenset("\n\t\u200d\u200c\u0600\u0601\u0602\u0603\u06dd")
"""Line feeds, tabs, and format characters that emoji and scripts need."""


class PageChecks(HTMLParser):
    """Collects the ``problems`` of a page, and what tests ask for: ``title``, ``headings`` (of level 1), ``elements``, ``links``."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.problems: list[str] = []
        self.headings: list[str] = []
        self.alternates: list[str] = []
        self.links: list[str] = []
        self.elements: dict[str, int] = {}
        self.title = ""
        self._open: list[str] = []
        self._ids: set[str] = set()
        self.feed(page)
        self.close()
        if self._open:
            self.problems.append(f"not closed: {self._open}")

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.elements[tag] = self.elements.get(tag, 0) + 1
        if len(values) != len(attrs):
            self.problems.append(f"attributes twice: {self.get_starttag_text()}")
        for name, value in attrs:
            self._check_attribute(tag, name, value or "")
        if tag == "script" and "src" not in values:
            self.problems.append("a script within the page")
        if tag == "style":
            self.problems.append("a style within the page")
        if tag in ("img", "iframe", "object", "embed", "base", "form") and tag != "form":
            self.problems.append(f"an element {tag}: {self.get_starttag_text()}")
        if tag == "link" and values.get("rel") == "alternate":
            self.alternates.append(values.get("href") or "")
        if tag == "a":
            self.links.append(values.get("href") or "")
        if tag == "h1":
            self.headings.append("")
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open[-1] != tag and self._open[-1] in OPTIONAL_END:
            self._open.pop()
        if not self._open or self._open[-1] != tag:
            self.problems.append(f"</{tag}> at {self.getpos()} closes {self._open[-1:]}")
            return
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._check_text(data, "a text")
        if "h1" in self._open:
            self.headings[-1] += data
        if self._open[-1:] == ["title"] and "svg" not in self._open:
            self.title += data

    def handle_comment(self, data: str) -> None:
        self.problems.append(f"a comment: {data[:80]!r}")

    def _check_attribute(self, tag: str, name: str, value: str) -> None:
        self._check_text(value, f"{name} of {tag}")
        if name.startswith("on") or name == "style":
            self.problems.append(f"{name} of {tag}: {value[:80]!r}")
        if name in URL_ATTRIBUTES:
            parts = urlsplit(value)
            if parts.scheme or parts.netloc:
                self.problems.append(f"another origin: {name} of {tag}: {value[:120]!r}")
        if name == "id":
            if value in self._ids:
                self.problems.append(f"the id {value!r} twice")
            self._ids.add(value)

    def _check_text(self, text: str, what: str) -> None:
        found = {
            f"U+{ord(character):04X}"
            for character in set(text) - ALLOWED
            if unicodedata.category(character) in INVISIBLE
        }
        if found:
            self.problems.append(f"{what} has {sorted(found)[:5]}: {text[:60]!r}")
