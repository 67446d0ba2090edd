"""The document as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec
import yaml
from litestar.routes import BaseRoute
from msgspec import Struct

from evalhub_server.web.openapi.document import make_document


class Rendered(Struct, kw_only=True, frozen=True):
    json: bytes
    yaml: bytes


def render(routes: Iterable[BaseRoute]) -> Rendered:
    """Takes a good part of a second, nearly all of it for the YAML."""
    compact = msgspec.json.encode(make_document(routes))
    # Decoded again, so that no two places share an object, which YAML would write as anchor and alias.
    plain = msgspec.json.decode(compact)
    text = yaml.dump(plain, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return Rendered(json=msgspec.json.format(compact, indent=2) + b"\n", yaml=text.encode())


class _Dumper(yaml.SafeDumper):
    """Writes texts of several lines as such."""


def _text(dumper: yaml.SafeDumper, text: str) -> Any:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)  # pyright: ignore[reportUnknownMemberType]


_Dumper.add_representer(str, _text)
