"""A real browser without access to other computers. Names that end with ``.example`` resolve to this one.

``Browser`` is one Chromium process, ``Tab`` a page in a profile of its own, which records what the page does. Open one browser
per module of tests: a start takes a second or two. Modules that use it have no ``async`` tests, since its driver keeps an
event loop in the main thread.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import urlsplit

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, CDPSession, Page, ViewportSize

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium: apt-get install chromium")
FLAGS = (
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
DESKTOP: ViewportSize = {"width": 1440, "height": 900}
NARROW: ViewportSize = {"width": 320, "height": 640}
SCREENSHOTS = "EVALHUB_TEST_SCREENSHOTS"
"""Variable with the folder of screenshots. Default: ``.ci/screenshots`` of the repository."""
AXE_TAGS = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice")

_NODES = """() => {
  const nodes = document.createNodeIterator(document, NodeFilter.SHOW_ALL);
  let count = 0;
  while (nodes.nextNode()) count += 1;
  return count;
}"""
# What scrolls by itself may be wider than the page.
_OVERFLOWING = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  const scrolls = element => {
    for (let each = element.parentElement; each; each = each.parentElement)
      if (getComputedStyle(each).overflowX !== "visible") return true;
    return false;
  };
  const found = [...document.body.querySelectorAll("*")].filter(
    each => each.getBoundingClientRect().right > width + 1 && !scrolls(each));
  return found.length ? found.slice(0, 5).map(each => each.outerHTML.slice(0, 200))
    : [`something inside a box that scrolls makes the page ${document.documentElement.scrollWidth} px wide`];
}"""


@dataclass
class Request:
    """One request of a page. ``bytes`` is what came over the wire, fields included: 0 from the cache."""

    url: str
    method: str
    status: int = 0
    bytes: int = 0
    type: str = ""
    cached: bool = False

    @property
    def host(self) -> str:
        return urlsplit(self.url).hostname or ""

    @property
    def path(self) -> str:
        return urlsplit(self.url).path


@dataclass
class Tab:
    """A page, and what it has done since the last :meth:`forget`.

    ``requests`` are those over HTTP, ``console`` has messages and uncaught errors, ``dialogs`` the texts of alerts, which
    are dismissed, and ``csp_reports`` what the content security policy has blocked. ``page`` is Playwright's own.
    """

    page: Page
    context: BrowserContext
    requests: list[Request] = field(default_factory=list[Request])
    console: list[str] = field(default_factory=list[str])
    dialogs: list[str] = field(default_factory=list[str])
    csp_reports: list[str] = field(default_factory=list[str])
    _by_id: dict[str, Request] = field(default_factory=dict[str, Request])

    def __post_init__(self) -> None:
        self.page.on("console", lambda message: self.console.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))

        def dismiss(dialog: Any) -> None:
            self.dialogs.append(dialog.message)
            dialog.dismiss()

        self.page.on("dialog", dismiss)
        self.devtools: CDPSession = self.context.new_cdp_session(self.page)
        for event, handler in (
            ("Network.requestWillBeSent", self._sent),
            ("Network.responseReceived", self._received),
            ("Network.requestServedFromCache", self._from_cache),
            ("Network.loadingFinished", self._finished),
            ("Audits.issueAdded", self._issue),
        ):
            self.devtools.on(event, handler)
        self.devtools.send("Network.enable")
        self.devtools.send("Audits.enable")

    def _sent(self, event: dict[str, Any]) -> None:
        sent = event["request"]
        if not sent["url"].startswith(("http:", "https:")):
            return
        if redirected := event.get("redirectResponse"):
            self._by_id[event["requestId"]].status = redirected["status"]
            self._by_id[event["requestId"]].bytes = int(redirected["encodedDataLength"])
        request = Request(sent["url"], sent["method"], type=event.get("type", ""))
        self._by_id[event["requestId"]] = request
        self.requests.append(request)

    def _received(self, event: dict[str, Any]) -> None:
        if (request := self._by_id.get(event["requestId"])) is not None:
            request.status = event["response"]["status"]
            request.cached = request.cached or event["response"].get("fromDiskCache", False)

    def _from_cache(self, event: dict[str, Any]) -> None:
        if (request := self._by_id.get(event["requestId"])) is not None:
            request.cached = True

    def _finished(self, event: dict[str, Any]) -> None:
        if (request := self._by_id.get(event["requestId"])) is not None and not request.cached:
            request.bytes = int(event["encodedDataLength"])

    def _issue(self, event: dict[str, Any]) -> None:
        issue = event["issue"]
        if issue["code"] == "ContentSecurityPolicyIssue":
            self.csp_reports.append(str(issue["details"]["contentSecurityPolicyIssueDetails"]))

    def forget(self) -> None:
        """Start to record from here."""
        for recorded in (self.requests, self.console, self.dialogs, self.csp_reports):
            recorded.clear()

    def open(self, url: str, *, idle: bool = False) -> int:
        """Go to a page and wait until it has loaded, with ``idle`` until it has requested nothing for half a second.

        Returns its status.
        """
        answer = self.page.goto(url, wait_until="networkidle" if idle else "load")
        assert answer is not None, url
        return answer.status

    @property
    def wire(self) -> list[Request]:
        """The requests that the server has answered."""
        return [request for request in self.requests if not request.cached]

    @property
    def hosts(self) -> set[str]:
        return {request.host for request in self.requests}

    def text(self, selector: str = "body") -> str:
        return self.page.inner_text(selector)

    def axe(self, *rules: str) -> list[str]:
        """The violations that axe-core finds: rule, help, and elements. Default: all rules of WCAG 2.2 AA and good practice."""
        if not self.page.evaluate("() => 'axe' in window"):
            source = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
            self.page.evaluate(source)
        chosen = {"type": "rule", "values": rules} if rules else {"type": "tag", "values": AXE_TAGS}
        options = {"runOnly": chosen, "resultTypes": ["violations"]}
        found = self.page.evaluate("options => axe.run(document, options)", options)
        return [
            f"{each['id']}: {each['help']}: {node['html'][:300]} ({node.get('failureSummary', '')})"
            for each in found["violations"]
            for node in each["nodes"]
        ]

    def nodes(self) -> int:
        """The number of nodes of the document: elements, texts and comments."""
        return self.page.evaluate(_NODES)

    def overflowing(self) -> list[str]:
        """Elements that make the page scroll sideways; the first five, as HTML."""
        return self.page.evaluate(_OVERFLOWING)

    def screenshot(self, name: str, *, full: bool = False) -> Path:
        """Save what is shown, or with ``full`` the whole page, as ``name``.png."""
        folder = Path(os.environ.get(SCREENSHOTS, Path(__file__).parents[2] / ".ci" / "screenshots"))
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{name}.png"
        self.page.screenshot(path=path, full_page=full)
        return path

    def close(self) -> None:
        self.context.close()


class Browser:
    """A context manager over one Chromium process, which ends with it."""

    def __enter__(self) -> Self:
        # Not at the top: modules whose other tests need no browser run without the driver, too.
        from playwright.sync_api import sync_playwright

        assert CHROMIUM is not None
        self._driver = sync_playwright().start()
        try:
            self._browser = self._driver.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        except BaseException:
            self._driver.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._browser.close()
        self._driver.stop()

    @contextmanager
    def tab(
        self,
        *,
        theme: Literal["light", "dark"] = "light",
        size: ViewportSize = DESKTOP,
        script: bool = True,
        **options: Any,
    ) -> Iterator[Tab]:
        """A page with an empty cache and no cookies. ``options`` are those of Playwright's ``new_context``."""
        context = self._browser.new_context(
            color_scheme=theme,
            viewport=size,
            java_script_enabled=script,
            reduced_motion="reduce",
            **options,
        )
        tab = Tab(context.new_page(), context)
        try:
            yield tab
        finally:
            tab.close()
