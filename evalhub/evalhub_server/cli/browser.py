"""Opens pages of a server in the user's browser."""

from __future__ import annotations

import os
import shlex
import sys
import webbrowser

from evalhub_server.cli.server_choice import data_directory, default_url
from evalhub_server.cli.tables import print_lines
from evalhub_server.client import Client, ClientError, Unreachable


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
    named = server or os.environ.get("EVALHUB_BASE_URL")
    client = Client.from_environment({**os.environ, "EVALHUB_BASE_URL": named or default_url()})
    try:
        url = client.pages_url()
    except Unreachable as error:
        if named:
            raise
        folder = shlex.quote(str(data_directory()))
        raise ClientError(
            f"{error} Start one, with the results of the other commands: "
            f"eval-hub-server serve --local --open --data-dir {folder}"
        ) from None
    if only_print or not open_in_browser(url):
        print_lines([url])
    return 0
