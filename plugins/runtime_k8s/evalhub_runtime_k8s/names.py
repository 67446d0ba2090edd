"""Names of the objects of a benchmark, and of what others put beside them."""

from __future__ import annotations

import hashlib
import re
from uuid import UUID, uuid5

from msgspec import Struct

from evalhub_server.plugins import MAX_LABEL_CHARACTERS

# Names this server's objects only; any fixed value will do, as long as it stays.
_GUIDS = UUID("6f1f3f5c-5c0e-5f0a-9a59-0c3b6f6f7a51")

_NOT_IN_NAMES = re.compile(r"[^a-z0-9-]+")
_DNS_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


class Names(Struct, frozen=True):
    """The objects of one attempt at one benchmark."""

    job: str
    config_map: str
    secret: str


def names_of(job_id: str, benchmark_index: int, attempt: int) -> Names:
    """The names for a run's key; always the same, so that a second launch meets the objects of the first.

    They look like those of the released server, whose middle part is random.
    """
    guid = uuid5(_GUIDS, f"{job_id}/{benchmark_index}/{attempt}")
    return Names(*(_name(job_id, guid, suffix) for suffix in ("", "-spec", "-model-ref")))


def _name(job_id: str, guid: UUID, suffix: str) -> str:
    tail = f"-{guid}{suffix}"
    head = _sanitised(_NOT_IN_NAMES, job_id, "-")[: MAX_LABEL_CHARACTERS - len(tail)].strip("-") or "x"
    return head + tail


def _sanitised(others: re.Pattern[str], text: str, trimmed: str) -> str:
    return others.sub("-", text.lower()).strip(trimmed)


def service_account(instance: str, own_namespace: str) -> str:
    """The account that the operator makes for Jobs, shortened as the operator shortens it."""
    name = f"{instance}-{own_namespace}-job"
    if len(name) <= MAX_LABEL_CHARACTERS:
        return name
    return f"{name[: MAX_LABEL_CHARACTERS - 11].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def service_ca(instance: str) -> str:
    """The ConfigMap with the certificate authority of the cluster's services."""
    return f"{instance}-service-ca"


def mlflow_ca_bundle(instance: str) -> str:
    """The ConfigMap with MLflow's certificate authorities."""
    return f"{instance}-mlflow-ca-bundle"


def is_object_name(text: str) -> bool:
    """May an object of the cluster be called so (DNS-1123 subdomain)?"""
    return _DNS_SUBDOMAIN.fullmatch(text) is not None
