"""Types that several resources share."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Generic, TypeVar

from msgspec import Meta, Struct

from evalhub_server.errors import FieldError
from evalhub_server.models.rules import (
    DNS_LABEL,
    GIT_CLONE_URL,
    NOT_BLANK,
    REQUIRED,
    one_of,
)

T = TypeVar("T")
Json = dict[str, Any]
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
"""What the integer columns of databases hold."""


class State(StrEnum):
    """State of a job or of one of its benchmarks. Only a job can be partially failed."""

    terminal: bool
    """Whether the state is final."""

    PENDING = "pending"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    PARTIALLY_FAILED = "partially_failed"

    def __init__(self, value: str) -> None:
        self.terminal = value not in ("pending", "running")  # an attribute: it is read very often


class Message(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A human-readable text with a stable code; ``message_origin`` is server, runtime, adapter or sdk."""

    message: Annotated[str, REQUIRED] = ""
    message_code: Annotated[str, REQUIRED] = ""
    message_origin: str = ""


class PrimaryScore(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The metric that is compared with the threshold; ``lower_is_better`` suits losses and error rates."""

    metric: Annotated[str, REQUIRED] = ""
    lower_is_better: bool = False


class PassCriteria(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The minimum score that passes; the maximum where lower is better."""

    threshold: Annotated[float | None, REQUIRED] = None


class S3Ref(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """An object in S3. ``secret_ref`` names the Kubernetes secret with the credentials."""

    bucket: Annotated[str, REQUIRED] = ""
    key: Annotated[str, REQUIRED] = ""
    secret_ref: Annotated[str, REQUIRED] = ""


class PvcRef(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A persistent volume claim, or the directory ``sub_path`` of it."""

    claim_name: Annotated[str, REQUIRED, DNS_LABEL] = ""
    sub_path: str = ""


class GitRef(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A Git repository at a branch, tag or commit, cloned over HTTP or HTTPS from a public host.

    ``secret_ref`` names the Kubernetes secret with the credentials; with it, the URL must be HTTPS.
    """

    url: Annotated[str, REQUIRED, GIT_CLONE_URL] = ""
    ref: Annotated[str, REQUIRED] = ""
    sub_path: str = ""
    secret_ref: Annotated[str, DNS_LABEL] = ""


class HuggingFaceRef(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A repository on the Hugging Face Hub. ``secret_ref`` names the Kubernetes secret with the token."""

    repo_id: Annotated[str, NOT_BLANK] = ""
    revision: str = ""
    sub_path: str = ""
    secret_ref: Annotated[str, DNS_LABEL] = ""


class TestDataRef(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The source of a benchmark's test data: exactly one of ``s3``, ``pvc``, ``git``, ``hf``."""

    __test__ = False  # the name starts with "Test"; pytest must not collect it

    s3: S3Ref | None = None
    pvc: PvcRef | None = None
    git: GitRef | None = None
    hf: HuggingFaceRef | None = None
    type: Annotated[str, one_of("data_set", "pre_recorded_data")] = ""
    resolved_sha: str = ""


class Queue(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The queue that admits the workload; the only ``kind`` is kueue."""

    kind: Annotated[str, one_of("kueue")] = ""
    name: Annotated[str, REQUIRED, DNS_LABEL] = ""


class ResourceAmount(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The request and the limit of a resource, as Kubernetes quantities."""

    request: str = ""
    limit: str = ""


class Gpu(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """GPUs of one kind."""

    name: str = ""
    count: Int64 = 0


class HardwareConfig(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Either a hardware profile or explicit values; only the Kubernetes runtime uses it."""

    hardware_profile_name: Annotated[str, DNS_LABEL] = ""
    queue: Queue | None = None
    cpu: ResourceAmount | None = None
    memory: ResourceAmount | None = None
    gpu: Gpu | None = None


class Link(Struct, kw_only=True, frozen=True):
    """A URL relative to the server."""

    href: str


class Page(Struct, Generic[T], kw_only=True, frozen=True, omit_defaults=True):
    """One page of a list. ``first`` is the page's own URL; the last page has no ``next``."""

    first: Link
    next: Link | None = None
    limit: int
    total_count: int
    items: list[T]


class ErrorBody(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """Body of every error response.

    ``message_code`` is stable, ``message`` is human-readable, ``detail`` repeats it. ``trace`` is the request id. ``errors``
    points to the fields, query parameters or headers at fault, where the error is about some.
    """

    message_code: str
    message: str
    detail: str
    trace: str
    errors: tuple[FieldError, ...] = ()


__all__ = [
    "ErrorBody",
    "GitRef",
    "Gpu",
    "HardwareConfig",
    "HuggingFaceRef",
    "Int64",
    "Json",
    "Link",
    "Message",
    "Page",
    "PassCriteria",
    "PrimaryScore",
    "PvcRef",
    "Queue",
    "ResourceAmount",
    "S3Ref",
    "State",
    "TestDataRef",
]
