"""``eval-hub-server export --html``: jobs as a folder of pages that need no server."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.parse import parse_qsl, urlencode, urlsplit

import click

from evalhub_server.cli.client_command import report
from evalhub_server.cli.server_choice import open_client
from evalhub_server.cli.tables import print_lines
from evalhub_server.client import Client
from evalhub_server.client.resources import benchmark_statuses

MAX_COMPARED = 8
_LINK = re.compile(r' href="([^"]*)"')
_NEXT = re.compile(r'rel="next"[^>]* href="([^"]*)"|href="([^"]*)"[^>]* rel="next"')


class Site:
    """The pages of an export by the views of the server that they show: a path with a sorted query."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._prefix = urlsplit(client.url).path
        self._files: dict[str, str] = {}
        self._pages: dict[str, str] = {}

    def add(self, view: str, file: str) -> str:
        """Fetch a view as one file; returns its HTML."""
        path, _, query = view.partition("?")
        page = self._client.saved_page(path, parse_qsl(query))
        self._files[_canonical(view)] = file
        self._pages[file] = page
        return page

    def view_of(self, address: str) -> str:
        """The view at an address of the server, without the prefix of a proxy."""
        parts = urlsplit(html.unescape(address))
        return _canonical(f"{parts.path.removeprefix(self._prefix)}?{parts.query}")

    def write(self, folder: Path) -> int:
        """Write all files, with relative links between them; returns their number."""
        for file, page in self._pages.items():
            (folder / file).write_text(_LINK.sub(self._relative, page), "utf-8")
        return len(self._pages)

    def _relative(self, link: re.Match[str]) -> str:
        file = self._files.get(self.view_of(link[1]))
        return f' href="{file}"' if file else link[0]


def export_site(server: str | None, jobs: Sequence[str], folder: Path) -> int:
    if not jobs:
        raise click.UsageError("Name the jobs to export as pages.")
    if folder.exists() and any(folder.iterdir()):
        raise click.UsageError(f"{folder} is not empty; name a new folder.")
    with open_client(server, report) as client:
        site = Site(client)
        for job in jobs:
            for view, file in _views_of(client, job, only=len(jobs) == 1):
                page = site.add(view, file)
                number = 1
                while file.endswith("-samples.html") and (following := _NEXT.search(page)):
                    number += 1
                    page = site.add(
                        site.view_of(following[1] or following[2]), file.replace(".html", f"-{number}.html")
                    )
        if 1 < len(jobs) <= MAX_COMPARED:
            query = urlencode([("base", jobs[0]), *(("with", job) for job in jobs[1:])])
            site.add(f"/ui/compare?{query}", "index.html")
        folder.mkdir(parents=True, exist_ok=True)
        count = site.write(folder)
    print_lines([f"{count} pages in {folder}"])
    return 0


def _views_of(client: Client, job_id: str, *, only: bool) -> Iterator[tuple[str, str]]:
    """The views of a job, with the names of their files."""
    job = client.jobs.get(job_id)
    yield f"/ui/jobs/{job_id}", "index.html" if only else f"{job_id}.html"
    for status in benchmark_statuses(job):
        index = status["benchmark_index"]
        yield f"/ui/jobs/{job_id}/b/{index}", f"{job_id}-{index}.html"
        if status.get("samples", {}).get("state") in ("stored", "cut"):
            yield f"/ui/jobs/{job_id}/b/{index}/samples", f"{job_id}-{index}-samples.html"


def _canonical(view: str) -> str:
    path, _, query = view.partition("?")
    return f"{path}?{urlencode(sorted(parse_qsl(query)))}"
