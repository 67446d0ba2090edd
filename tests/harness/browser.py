"""A real browser without access to other computers. Names that end with ``.example`` resolve to this one."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",  # tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP *.example 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--virtual-time-budget=20000",
)


class Page(NamedTuple):
    """The ``dom`` after the scripts have run, the requested ``hosts``, and the lines of the console."""

    dom: str
    hosts: set[str]
    console: list[str]


def browse(url: str, folder: Path) -> Page:
    """Open a page in a browser with a new profile below ``folder``."""
    assert CHROMIUM is not None
    events = folder / "net.json"
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder / 'profile'}", f"--log-net-log={events}"]
    command += ["--enable-logging=stderr", "--v=0", "--dump-dom", url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return Page(
        done.stdout, _hosts(events, url), [line for line in done.stderr.splitlines() if "CONSOLE" in line]
    )


def _hosts(events: Path, page: str) -> set[str]:
    """Hosts requested by the page, not by the browser itself. Often none for a page without scripts."""
    origin = page[: page.index("/", len("http://"))]
    events_of_page = [event.get("params", {}) for event in json.loads(events.read_text("utf-8"))["events"]]
    urls = [params["url"] for params in events_of_page if params.get("initiator", "").startswith(origin)]
    return {urlsplit(url).hostname or "" for url in urls}
