"""Which revision of its test data a benchmark really used, as its adapter reports it."""

from __future__ import annotations

import re

from msgspec.structs import replace

from evalhub_server.domain.planning import materialised
from evalhub_server.domain.record import JobRecord, with_changes

_SHA = re.compile(r"[0-9a-fA-F]{7,40}")


def with_resolved_sha(job: JobRecord, index: int, sha: str) -> JobRecord:
    """Write ``sha`` beside the benchmark's test data reference, once; anything that is no SHA is ignored.

    For a job over a collection, the whole effective list is then written into the job's collection reference.
    """
    planned = job.plan.benchmarks[index]
    ref = planned.test_data_ref
    if not _SHA.fullmatch(sha) or ref is None or ref.resolved_sha:
        return job
    resolved = replace(ref, resolved_sha=sha)
    benchmarks = job.plan.benchmarks
    plan = replace(
        job.plan,
        benchmarks=(*benchmarks[:index], replace(planned, test_data_ref=resolved), *benchmarks[index + 1 :]),
    )
    request = job.request
    if request.collection is not None:
        request = replace(request, collection=materialised(request.collection, plan))
    else:
        own = request.benchmarks
        changed = replace(own[index], test_data_ref=resolved)
        request = replace(request, benchmarks=(*own[:index], changed, *own[index + 1 :]))
    return with_changes(job, plan=plan, request=request)
