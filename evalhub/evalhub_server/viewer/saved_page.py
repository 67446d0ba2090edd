"""Pages as one file to keep or to send: the style sheet is part of it, it has no script, and its links lead to the server."""

from __future__ import annotations

import base64
import re
from functools import lru_cache
from hashlib import sha256

from markupsafe import Markup, escape

from evalhub_server.viewer.assets import asset

_SPACE = re.compile(rb"/\*.*?\*/|(?<=[{};,])\s+|\s+(?=[{}])", re.DOTALL)
"""What a style sheet does not need."""
# Text is escaped, so that this only matches attributes of the templates.
_LINK = re.compile(rb' (href|action)="(/[^"]*)"')


@lru_cache(1)
def saved_styles() -> Markup:
    """The style sheet as an element, and the policy of a file that loads nothing: no script, and no other style."""
    css = _SPACE.sub(b"", asset("viewer.css").body)
    digest = base64.b64encode(sha256(css).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'"
    text = Markup('<meta http-equiv="Content-Security-Policy" content="{}">\n').format(policy)
    return text + Markup("<style>" + css.decode() + "</style>")  # noqa: S704  our own file


def saved_page(page: bytes, server_url: str) -> bytes:
    """The page with links that lead to the server: they are paths, which mean nothing in a file."""
    address = str(escape(server_url)).encode()
    return _LINK.sub(lambda match: b' %b="%b%b"' % (match[1], address, match[2]), page)
