"""What holds for every page in a real browser: accessibility, silence, budgets, narrow screens, no script."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from harness.browser import DESKTOP, NARROW, Browser, Request, Tab, needs_chromium
from harness.viewer_data import ViewerServer
from harness.viewer_data.views import url_of, views

pytestmark = [pytest.mark.slow, needs_chromium]

COLD_REQUESTS, COLD_BYTES = 4, 40_000
WARM_REQUESTS, WARM_BYTES = 1, 15_000
NODES = 6_000
RULES_ON_COLOURS = ("color-contrast", "link-in-text-block")


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def plain_tab(browser: Browser) -> Iterator[Tab]:
    """A tab without script."""
    with browser.tab(script=False) as tab:
        yield tab


def findings(tab: Tab) -> dict[str, object]:
    """What a page must not do."""
    found: dict[str, object] = {
        "console": tab.console,
        "dialogs": tab.dialogs,
        "csp": tab.csp_reports,
        "hosts": tab.hosts - {"127.0.0.1"},
        "errors": [(each.url, each.status) for each in tab.requests if each.status >= 400],
    }
    return {name: value for name, value in found.items() if value}


def of_visit(requests: list[Request]) -> list[Request]:
    """Without updates of the live part, which come every few seconds however long a visit takes; they have a budget of their own."""
    return [each for each in requests if "part=live" not in each.url]


@pytest.mark.parametrize("name", views())
def test_a_page(viewer: ViewerServer, browser: Browser, plain_tab: Tab, name: str, subtests: pytest.Subtests):
    url = f"http://127.0.0.1:{viewer.port}{url_of(viewer, name)}"
    with browser.tab() as tab:
        tab.open(url, idle=True)
        tab.screenshot(f"{name}-light")
        text = tab.text("main")
        with subtests.test("quiet"):
            assert findings(tab) == {}
        with subtests.test("cold budget"):
            assert len(of_visit(tab.requests)) <= COLD_REQUESTS
            assert sum(each.bytes for each in of_visit(tab.requests)) <= COLD_BYTES
        with subtests.test("as wide as the window"):
            assert tab.overflowing() == []
        with subtests.test("nodes"):
            assert tab.nodes() <= NODES
        with subtests.test("accessible, light"):
            assert "\n".join(tab.axe()) == ""
        with subtests.test("accessible, dark"):
            tab.page.emulate_media(color_scheme="dark")
            tab.screenshot(f"{name}-dark")
            assert "\n".join(tab.axe(*RULES_ON_COLOURS)) == ""
        with subtests.test("narrow"):
            tab.page.set_viewport_size(NARROW)
            tab.screenshot(f"{name}-narrow")
            assert tab.overflowing() == []
        tab.forget()
        tab.page.set_viewport_size(DESKTOP)
        tab.open(url)
        with subtests.test("warm budget"):
            wire = of_visit(tab.wire)
            assert len(wire) <= WARM_REQUESTS
            assert sum(each.bytes for each in wire) <= WARM_BYTES
            assert [each.status for each in wire] in ([200], [304])
        with subtests.test("quiet again"):
            assert findings(tab) == {}
    plain_tab.forget()
    plain_tab.open(url)
    with subtests.test("without script"):
        assert findings(plain_tab) == {}
        # Relative times change, and a script may show buttons.
        assert len(plain_tab.text("main")) >= 0.95 * len(text)
