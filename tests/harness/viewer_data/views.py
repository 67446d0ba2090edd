"""The views of pages that every test of pages visits: each page in each of its states.

A route of the viewer without a view fails a test, so that no page is forgotten.
"""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import quote, urlsplit

from harness.server import RunningServer
from harness.viewer_data.hostile import HOSTILE_TEXTS, storable
from harness.viewer_data.server import ViewerServer

HOSTILE = "hostile"

ADDRESSES = {
    # jobs
    "jobs": "/ui/jobs",
    "jobs-failed": "/ui/jobs?state=failed",
    "jobs-of-a-model": "/ui/jobs?model=alpha-7b&size=50",
    "jobs-none": "/ui/jobs?model=nothing",
    "jobs-hostile": "/ui/jobs?q={quoted_hostile_name}",
    # a job
    "job": "/ui/jobs/{alpha}",
    "job-partly-failed": "/ui/jobs/{gamma}",
    "job-running": "/ui/jobs/{running}",
    "job-queued": "/ui/jobs/{queued}",
    "job-past": "/ui/jobs/{past}",
    "job-hostile": "/ui/jobs/{hostile}",
    "job-cancel": "/ui/jobs/{running}/cancel",
    "job-rerun": "/ui/jobs/{gamma}/rerun?only=failed",
    "job-delete": "/ui/jobs/{hostile}/delete",
    "selection-cancel": "/ui/selection/cancel?job={running}&job={alpha}&job={hostile}&job=none",
    "selection-rerun": "/ui/selection/rerun?job={gamma}&job={running}",
    "selection-delete": "/ui/selection/delete?job={hostile}",
    "benchmark": "/ui/jobs/{alpha}/b/0",
    "benchmark-failed": "/ui/jobs/{gamma}/b/3",
    "benchmark-hostile": "/ui/jobs/{hostile}/b/0",
    # logs
    "logs": "/ui/jobs/{alpha}/b/0/logs",
    "logs-failed": "/ui/jobs/{gamma}/b/3/logs",
    "logs-none": "/ui/jobs/{past}/b/0/logs",
    "logs-hostile": "/ui/jobs/{hostile}/b/0/logs",
    # samples
    "samples": "/ui/jobs/{alpha}/b/0/samples",
    "samples-failed": "/ui/jobs/{alpha}/b/0/samples?outcome=failed",
    "samples-repeats": "/ui/jobs/{alpha}/b/1/samples",
    "samples-none": "/ui/jobs/{running}/b/0/samples",
    "samples-hostile": "/ui/jobs/{hostile}/b/0/samples",
    "sample": "/ui/jobs/{alpha}/b/0/sample?id=q-00017",
    "sample-long": "/ui/jobs/{beta}/b/2/sample?id=law%2F0007",
    "sample-hostile": "/ui/jobs/{hostile}/b/0/sample?id={quoted_hostile_id}",
    "sample-deep": "/ui/jobs/{hostile}/b/0/sample?id=deep",
    "sample-stack": "/ui/jobs/{hostile}/b/0/sample?id=stack",
    # results
    "compare": "/ui/compare?base={alpha}&with={beta}",
    "compare-three": "/ui/compare?base={alpha}&with={beta}&with={gamma}&benchmark=core/law_qa&show=all&size=50",
    "compare-start": "/ui/compare",
    "compare-choose": "/ui/compare?base={alpha}",
    "compare-none": "/ui/compare?base={alpha}&with={hostile}",
    "compare-unpaired": "/ui/compare?base={past}&with={alpha}",
    "compare-hostile": "/ui/compare?base={hostile}&with={hostile_again}&show=all&metric=accuracy",
    "compare-sample": "/ui/compare/sample?base={alpha}&with={beta}&benchmark=core/law_qa&id=law%2F0007",
    "compare-sample-repeats": "/ui/compare/sample?base={alpha}&with={beta}&with={gamma}&benchmark=core/arithmetic&id=sum-003",
    "compare-sample-hostile": "/ui/compare/sample?base={hostile}&with={hostile_again}&benchmark=hostile/{quoted_hostile_name}&id={quoted_hostile_id}",
    "leaderboards": "/ui/leaderboards",
    "leaderboard": "/ui/leaderboards?collection=core-v1",
    "leaderboard-nightly": "/ui/leaderboards?collection=nightly-v1",
    "leaderboard-none": "/ui/leaderboards?collection=never-run",
    "trend": "/ui/trend?collection=nightly-v1",
    # catalogue, health
    "catalogue": "/ui/catalog",
    "catalogue-none": "/ui/catalog?q=nothing-has-this",
    "catalogue-providers": "/ui/catalog?kind=providers",
    "catalogue-benchmarks": "/ui/catalog?kind=benchmarks",
    "catalogue-filtered": "/ui/catalog?kind=benchmarks&provider=core&q=suite&sort=-samples&size=50",
    "catalogue-hostile": "/ui/catalog?kind=benchmarks&provider=hostile",
    "catalogue-benchmark": "/ui/catalog/benchmark?provider=core&id=big_suite",
    "catalogue-provider": "/ui/catalog/provider?id=core",
    "catalogue-provider-hostile": "/ui/catalog/provider?id=hostile",
    "catalogue-collection": "/ui/catalog/collection?id=core-v1",
    "catalogue-collection-hostile": "/ui/catalog/collection?id=never-run",
    "run": "/ui/run?collection=core-v1&model=alpha-7b",
    "health": "/ui/health",
    "plugins": "/ui/plugins",
}
"""By name. Braces hold the names of values, see :func:`url_of`."""

FORMS = (
    "job-cancel",
    "job-rerun",
    "job-delete",
    "selection-cancel",
    "selection-rerun",
    "selection-delete",
    "run",
)
"""Views with a form that holds a key of its own, so that no two answers are equal."""

NOT_PAGES = re.compile(r"/ui/assets/|/sample/text$|/ui/login$|\{path:path\}")
_PARAMETER = re.compile(r"\{[^}]+\}|(?<=/)\d+(?=/|$)")


class Route(NamedTuple):
    """A route of the viewer that answers to GET. ``matches`` is the pattern of its paths."""

    path: str
    matches: re.Pattern[str]


def page_routes() -> list[Route]:
    """The pages of the application: its routes for GET below ``/ui`` without assets and redirects."""
    from litestar.routes import HTTPRoute

    from evalhub_server.viewer.app import viewer_router

    paths = sorted(
        route.path
        for route in viewer_router.routes
        if isinstance(route, HTTPRoute) and "GET" in route.methods and not NOT_PAGES.search(route.path)
    )
    assert paths
    return [Route(path, re.compile(_pattern(path))) for path in paths]


def _pattern(path: str) -> str:
    fixed = (re.escape(part) for part in _PARAMETER.split(path))
    return "[^/]+".join(fixed) + "$"


def views() -> list[str]:
    """The names of the views of all pages that exist."""
    routes = page_routes()
    return [
        name for name, address in ADDRESSES.items() if any(r.matches.match(path_of(address)) for r in routes)
    ]


def is_planned(url: str) -> bool:
    """Whether there are views of a page at that address, but no such page yet."""
    path = re.sub(r"/b/\d+", "/b/0", path_of(url))
    return any(re.match(_pattern(path_of(address)), path) for address in ADDRESSES.values()) and not any(
        route.matches.match(path) for route in page_routes()
    )


def path_of(address: str) -> str:
    return urlsplit(address).path


def past_job(server: RunningServer) -> str:
    """The id of a job without files."""
    return server.get("/api/v1/evaluations/jobs?name=nightly-000&limit=1")["items"][0]["resource"]["id"]


def url_of(viewer: ViewerServer, name: str) -> str:
    """The path and query of a view."""
    return ADDRESSES[name].format(
        alpha=viewer.jobs.suites["alpha-7b"],
        beta=viewer.jobs.suites["beta-13b"],
        gamma=viewer.jobs.suites["gamma-70b"],
        running=viewer.jobs.running,
        queued=viewer.jobs.queued,
        hostile=viewer.jobs.hostile,
        hostile_again=viewer.jobs.hostile_again,
        past=past_job(viewer),
        quoted_hostile_name=quote(HOSTILE_TEXTS["attribute"]),
        quoted_hostile_id=quote(storable(HOSTILE_TEXTS["closing tags"])[:200], safe=""),
    )
