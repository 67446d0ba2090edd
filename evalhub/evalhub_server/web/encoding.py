"""Jobs as JSON, encoded once for as long as they stay what they are."""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from evalhub_server.domain.record import JobRecord
from evalhub_server.domain.view import job_resource

_encoder = msgspec.json.Encoder()
CAPACITY = 1024


class JobEncoder:
    """Remembers the bytes of the jobs that were read last. A record is frozen, so the same object has the same bytes."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._known: OrderedDict[str, tuple[JobRecord, bytes]] = OrderedDict()

    def __call__(self, job: JobRecord) -> bytes:
        known = self._known.get(job.id)
        if known is not None and known[0] is job:
            self._known.move_to_end(job.id)
            return known[1]
        encoded = _encoder.encode(job_resource(job))
        self._known[job.id] = (job, encoded)
        self._known.move_to_end(job.id)
        if len(self._known) > self._capacity:
            self._known.popitem(last=False)
        return encoded
