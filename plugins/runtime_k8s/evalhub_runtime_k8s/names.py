"""Names of a benchmark's objects, and of objects that the operator creates."""

from __future__ import annotations

import hashlib
import re
from uuid import UUID, uuid5

from msgspec import Struct

from evalhub_server.plugins import MAX_LABEL_CHARACTERS

# Namespace of the UUIDs in object names; any value, but it must never change.
_GUIDS = UUID("6f1f3f5c-5c0e-5f0a-9a59-0c3b6f6f7a51")

_NOT_IN_NAMES = re.compile(r"[^a-z0-9-]+")
_DNS_SUBDOMAIN = re.compile(r"(?=.{1,253}\Z)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")


class Names(Struct, frozen=True):
    """Names of the objects of one attempt."""

    job: str
    config_map: str
    secret: str


def names_for(job_id: str, benchmark_index: int, attempt: int) -> Names:
    """Return the names for a run's key; deterministic, so that a repeated launch finds the objects of the first.

    They have the form of the released server's, whose middle part is random.
    """
    guid = uuid5(_GUIDS, f"{job_id}/{benchmark_index}/{attempt}")
    return Names(*(_name(job_id, guid, suffix) for suffix in ("", "-spec", "-model-ref")))


def _name(job_id: str, guid: UUID, suffix: str) -> str:
    tail = f"-{guid}{suffix}"
    head = (
        _NOT_IN_NAMES.sub("-", job_id.lower()).strip("-")[: MAX_LABEL_CHARACTERS - len(tail)].strip("-")
        or "x"
    )
    return head + tail


def service_account(instance: str, own_namespace: str) -> str:
    """Return the service account that the operator creates for Jobs, shortened as the operator does."""
    name = f"{instance}-{own_namespace}-job"
    if len(name) <= MAX_LABEL_CHARACTERS:
        return name
    return f"{name[: MAX_LABEL_CHARACTERS - 11].rstrip('-')}-{hashlib.sha256(name.encode()).hexdigest()[:10]}"


def service_ca(instance: str) -> str:
    """Return the name of the ConfigMap with the CA of the cluster's services."""
    return f"{instance}-service-ca"


def mlflow_ca_bundle(instance: str) -> str:
    """Return the name of the ConfigMap with the CA bundle for MLflow."""
    return f"{instance}-mlflow-ca-bundle"


def is_object_name(text: str) -> bool:
    """Is this a valid name of an object (DNS-1123 subdomain)?"""
    return _DNS_SUBDOMAIN.fullmatch(text) is not None
