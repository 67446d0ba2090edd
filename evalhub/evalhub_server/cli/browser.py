"""Opens pages of a server in the user's browser."""

from __future__ import annotations

import os
import sys
import webbrowser

from evalhub_server.cli.tables import print_lines
from evalhub_server.client import Client


def open_in_browser(url: str) -> bool:
    """Whether a browser was started. Never one in the terminal, which a Linux without display would choose."""
    if sys.platform == "linux" and not any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER"))):
        return False
    try:
        return webbrowser.open(url)
    except webbrowser.Error:
        return False


def open_pages(server: str | None, *, only_print: bool) -> int:
    """Open the pages of a server, or print their address; with a token, a link that logs in one browser."""
    environ = {**os.environ, "EVALHUB_BASE_URL": server} if server else os.environ
    url = Client.from_environment(environ).pages_url()
    if only_print or not open_in_browser(url):
        print_lines([url])
    return 0
