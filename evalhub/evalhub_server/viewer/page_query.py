"""The query of a page: validated parameters, and links to the same page with other ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from urllib.parse import quote_plus, urlencode

from evalhub_server.web.paths import url_prefix
from evalhub_server.web.query import Query
from evalhub_server.web.request import ApiRequest

COMMON = ("part", "live", "theme", "density")
"""Parameters of every page: a fragment of it, ``live=off``, and a look that takes precedence over the cookie's."""

PARTS = ("live",)
SIZES = (50, 100, 200, 500)
DEFAULT_SIZE = 100
THEMES = ("auto", "light", "dark")
DENSITIES = ("compact", "comfortable")


class PageQuery(Query):
    """The query of a page that has the parameters ``names``, beside :data:`COMMON`.

    Raises :class:`ApiError` for another parameter, as all methods do for a malformed value.
    """

    def __init__(self, request: ApiRequest, names: Sequence[str] = ()) -> None:
        super().__init__(request.scope)
        self.allow_only((*names, *COMMON))
        self.part = self.choice("part", ("", *PARTS), "")
        self.live = self.choice("live", ("on", "off"), "on") == "on"
        theme, density = look_of(request)
        self.theme = self.choice("theme", THEMES, theme)
        self.density = self.choice("density", DENSITIES, density)
        self.path = url_prefix(request.scope) + request.scope["path"]
        self._urls: dict[tuple[tuple[str, str | int | None], ...], str] = {}

    def size(self) -> int:
        """The number of rows of a page: one of :data:`SIZES`."""
        return int(self.choice("size", [str(size) for size in SIZES], str(DEFAULT_SIZE)))

    def size_links(self) -> list[tuple[int, str]]:
        """The URLs of this page with other numbers of rows, from the first row."""
        return [
            (size, self.url(size=size if size != DEFAULT_SIZE else None, offset=None, after=None))
            for size in SIZES
        ]

    def url(self, **changes: str | int | None) -> str:
        """The URL of this page with other parameters; None removes one. Equal views have equal URLs: parameters are sorted."""
        key = tuple(changes.items())
        url = self._urls.get(key)  # rows of a table have the same links, such as those of tags
        if url is None:
            values = {name: self.texts(name) for name in self.names if name not in COMMON}
            values |= {name: [] if value is None else [str(value)] for name, value in changes.items()}
            url = self._urls[key] = with_query(self.path, values)
        return url

    def urls_with(self, name: str, values: Iterable[str]) -> list[str]:
        """The URLs of this page with each of the values as that of a parameter; from the first row."""
        others = (*COMMON, name, "after", "offset")
        kept = sorted(
            (other, text) for other in self.names if other not in others for text in self.texts(other)
        )
        before = urlencode([*(pair for pair in kept if pair[0] < name), (name, "")])
        after = urlencode([("", ""), *(pair for pair in kept if pair[0] > name)])[1:]
        return [f"{self.path}?{before}{quote_plus(value)}{after}" for value in values]

    def alternate(self, name: str) -> str:
        """The URL of this view in another format, such as ``json``."""
        return self.url().replace(self.path, f"{self.path}.{name}", 1)

    def without(self, name: str, value: str) -> str:
        """The URL of this page without one value of a parameter, and from the first row."""
        kept = {other: self.texts(other) for other in self.names if other not in (*COMMON, "after", "offset")}
        kept[name] = [text for text in kept.get(name, []) if text != value]
        return with_query(self.path, kept)

    def toggled(self, name: str, value: str) -> str:
        """The URL of this page with one more value of a parameter, or without it if it is there; from the first row."""
        if value in self.texts(name):
            return self.without(name, value)
        kept = {other: self.texts(other) for other in self.names if other not in (*COMMON, "after", "offset")}
        kept[name] = [*kept.get(name, []), value]
        return with_query(self.path, kept)

    def chips(self, names: Iterable[str]) -> list[tuple[str, str, str]]:
        """The filters among the parameters ``names`` that are set: name, value, and the URL without the value."""
        return [(name, text, self.without(name, text)) for name in names for text in self.texts(name)]

    def sort_links(self, names: Iterable[str]) -> dict[str, str]:
        """The URLs that sort by each of the names, and descending by the one that sorts now; from the first row."""
        sort = self.text("sort")
        return {
            name: self.url(sort=f"-{name}" if sort == name else name, offset=None, after=None)
            for name in names
        }

    def row_links(self, shown: int, total: int) -> dict[str, int | str]:
        """The place of ``shown`` rows at ``offset`` among ``total``, for the macro ``pager``; URLs are empty where there are none."""
        offset = self.integer("offset", 0)
        end = offset + shown
        return {
            "first": offset + 1,
            "last": end,
            "next": self.url(offset=end) if end < total else "",
            "previous": self.url(offset=max(offset - self.size(), 0) or None) if offset else "",
        }

    @property
    def given_values(self) -> dict[str, list[str]]:
        """All values that are not empty, by parameter."""
        return {name: texts for name in self.names if (texts := self.texts(name))}


def with_query(path: str, values: dict[str, list[str]]) -> str:
    """A path with a query of sorted parameters."""
    query = urlencode(sorted((name, text) for name, texts in values.items() for text in texts))
    return f"{path}?{query}" if query else path


def look_of(request: ApiRequest) -> tuple[str, str]:
    """Theme and density of the cookies; the defaults for values that are none."""
    return _cookie(request, "evalhub_theme", THEMES), _cookie(request, "evalhub_density", DENSITIES)


def _cookie(request: ApiRequest, name: str, allowed: Sequence[str]) -> str:
    value = request.cookies.get(name, "")
    return value if value in allowed else allowed[0]
