"""The baseline resource: a name for a job that others are compared with."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from evalhub_server.models.provider import ResourceInfo
from evalhub_server.models.rules import REQUIRED


class BaselineConfig(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A baseline as it is stored."""

    name: str
    job_id: str


class BaselineRequest(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """The job that a baseline names."""

    job_id: Annotated[str, REQUIRED] = ""


class Baseline(Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A baseline in responses: a name, unique in the tenant, for a job that others are compared with."""

    resource: ResourceInfo
    name: str
    job_id: str
