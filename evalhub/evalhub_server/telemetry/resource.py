"""Who sends the telemetry."""

from __future__ import annotations

import uuid

from opentelemetry.sdk.resources import Resource

from evalhub_server import __version__
from evalhub_server.settings import OtelSettings

SERVICE_NAME = "eval-hub-server"
UNNAMED = "unknown_service"


def resource_of(otel: OtelSettings) -> Resource:
    """Settings go before ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES``, and these before defaults."""
    named = {"service.name": otel.service_name, "service.version": otel.service_version}
    given = {**otel.additional_attributes, **{key: value for key, value in named.items() if value}}
    told = Resource.create(given)
    defaults = {"service.version": __version__, "service.instance.id": str(uuid.uuid4())}
    if str(told.attributes.get("service.name", UNNAMED)).startswith(UNNAMED):
        told = told.merge(Resource({"service.name": SERVICE_NAME}))
    return Resource(defaults).merge(told)
