"""What adapters say about addresses: they see a proxy where people know the model."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from msgspec.structs import replace

from evalhub_server.models.common import Message
from evalhub_server.models.event import BenchmarkEvent

NOT_THE_MODEL = r"/api/(?:v1/evaluations|2\.0/mlflow|3\.0/mlflow)"


def with_real_addresses(event: BenchmarkEvent, proxy_url: str, model_url: str) -> BenchmarkEvent:
    """Put the model's scheme and host in the place of the proxy's in an event's error and warning.

    Paths stay, since the proxy keeps them; those of the server and of the tracker are left alone.
    """
    parts = urlsplit(model_url)
    if not proxy_url or not parts.netloc:
        return event
    proxy = re.compile(re.escape(proxy_url.rstrip("/")) + rf"(?!\d)(?!{NOT_THE_MODEL})")
    real = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def mended(message: Message | None) -> Message | None:
        if message is None or proxy_url not in message.message:
            return message
        return replace(message, message=proxy.sub(lambda _: real, message.message))

    return replace(
        event, error_message=mended(event.error_message), warning_message=mended(event.warning_message)
    )
