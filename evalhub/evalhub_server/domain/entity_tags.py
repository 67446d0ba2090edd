"""Entity tags (RFC 9110 section 8.8.3) of resources and lists, and the preconditions of requests.

The tag of a resource is ``"<edit version>-<digest of the body>"``. ``If-None-Match`` compares all of it. ``If-Match``
compares the edit version only: it changes when a client replaces or patches the resource, but not when, for example, the
number of a collection's runs does, which no client edits. A compressed response has the suffix ``-gzip``.
"""

from __future__ import annotations

import re
from datetime import datetime
from hashlib import blake2b, sha1

from msgspec import Struct

from evalhub_server.domain import problems

GZIP_SUFFIX = "-gzip"
_TAG = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\xff]*)"')
_DIGEST_CHARACTERS = 24
_MAX_TAGS = 100


class Tags(Struct, frozen=True):
    """The value of ``If-Match`` or ``If-None-Match``: entity tags without quotes, or any (``*``)."""

    tags: frozenset[str] = frozenset()
    weak: frozenset[str] = frozenset()
    any: bool = False

    def matches(self, tag: str) -> bool:
        """Weak comparison, for ``If-None-Match``."""
        return self.any or plain_tag(tag) in self.tags | self.weak

    def check_edit(self, updated_at: datetime, kind: str, resource_id: str) -> None:
        """Raise ``precondition_failed`` (412) unless a tag has the edit version of a resource, for ``If-Match``."""
        version = edit_version(updated_at)
        if not self.any and version not in {tag.partition("-")[0] for tag in self.tags}:
            raise problems.precondition_failed(kind, resource_id)


def read_tags(field: str) -> Tags | None:
    """Parse a header field; None if it is absent or empty. Text that is no tag matches nothing."""
    if not (text := field.strip()):
        return None
    if text == "*":
        return Tags(any=True)
    found = [(bool(match[1]), plain_tag(match[2])) for match in _TAG.finditer(text)][:_MAX_TAGS]
    return Tags(
        frozenset(tag for weak, tag in found if not weak), frozenset(tag for weak, tag in found if weak)
    )


def plain_tag(text: str) -> str:
    """A tag without quotes, weakness and the suffix of a compressed response."""
    return text.strip().removeprefix("W/").strip('"').removesuffix(GZIP_SUFFIX)


def body_tag(body: bytes) -> str:
    """The tag of a body that no client edits."""
    # The fastest of the standard library for large bodies. It protects nothing.
    return sha1(body, usedforsecurity=False).hexdigest()[:_DIGEST_CHARACTERS]


class Tagged(Struct, frozen=True):
    """An encoded resource and its tag."""

    body: bytes
    tag: str

    def edited(self, updated_at: datetime) -> Tagged:
        """The same resource with the tag of one that clients can edit."""
        return Tagged(self.body, f"{edit_version(updated_at)}-{self.tag}")


def tagged(body: bytes) -> Tagged:
    """A body that no client edits, with its tag."""
    return Tagged(body, body_tag(body))


def edit_version(updated_at: datetime) -> str:
    return f"{int(updated_at.timestamp() * 1_000_000):x}"


def list_tag(epoch: str, changes: int, tenant: str | None, state: str = "") -> str:
    """The tag of every page of a list that ``tenant`` reads, after ``changes`` changes in this life of the server.

    ``state`` stands for what else the list depends on.
    """
    reader = "" if tenant is None else blake2b(tenant.encode(), digest_size=4).hexdigest()
    other = f".{blake2b(state.encode(), digest_size=8).hexdigest()}" if state else ""
    return f"{epoch}.{changes:x}.{reader}{other}"
